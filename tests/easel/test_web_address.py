"""The one spelling of an address, and which IP addresses are open to everybody."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel.errors import BadValue
from easel.web_address import is_public, web_address


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("HTTP://EXAMPLE.com", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443?a=b", "https://example.com/?a=b"),
        ("https://example.com:8443/#x", "https://example.com:8443/"),
        ("  https://example.com/x.png  ", "https://example.com/x.png"),
        ("http://аpple.com/", "http://xn--pple-43d.com/"),
        ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC"),
        ("http://８.8.8.8/", "http://8.8.8.8/"),
        ("http://[2606:4700:0:0::1111]/", "http://[2606:4700::1111]/"),
        ("http://example.com./", "http://example.com/"),
        ("http://example.com/a/../%2e%2e/b?next=http://a@b/", "http://example.com/a/../%2e%2e/b?next=http://a@b/"),
    ],
)
def test_an_address_has_one_spelling(text: str, one: str) -> None:
    address = web_address(text)

    assert str(address.url) == one
    assert web_address(str(address.url)) == address


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "172.31.255.255"),
        *(
            "192.0.0.9",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
        ),
        *("255.255.255.255", "168.63.129.16", "192.88.99.1", "::1", "::", "::ffff:127.0.0.1", "::ffff:8.8.8.8"),
        *("::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "5f00::1"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "fe80::1", "fe80::1%eth0", "fec0::1", "fd00:ec2::254", "ff02::1"),
        *("2001:db8::1", "3fff::1", "", "localhost", "127.1"),
    ],
)
def test_an_address_of_an_inner_network_is_not_public(ip: str) -> None:
    assert not is_public(ip)


@pytest.mark.parametrize(
    "ip", ["1.1.1.1", "8.8.8.8", "172.64.0.1", "104.18.0.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"]
)
def test_an_address_of_the_internet_is_public(ip: str) -> None:
    assert is_public(ip)


def test_a_redirect_does_not_leave_tls() -> None:
    with pytest.raises(BadValue, match="from https:// to http://"):
        web_address("https://pictures.test/").followed_by("http://pictures.test/")

    assert web_address("http://pictures.test/a").followed_by("https://pictures.test/b").scheme == "https"


@pytest.mark.parametrize(
    ("address", "names", "named"),
    [
        ("http://nas.lan/", {"nas.lan"}, True),
        ("http://NAS.lan.:8080/", {"nas.lan"}, True),
        ("http://nas.lan:8080/", {"nas.lan:8080"}, True),
        ("https://nas.lan/", {"nas.lan:443"}, True),
        ("http://[::1]:8080/", {"::1"}, True),
        ("http://[::1]:8080/", {"[::1]:8080"}, True),
        ("http://nas.lan:8081/", {"nas.lan:8080"}, False),
        ("http://evil.nas.lan/", {"nas.lan"}, False),
        ("http://nas.lan.evil/", {"nas.lan"}, False),
        ("http://nas.lan/", set(), False),
    ],
)
def test_a_host_is_named_as_it_is_or_with_its_port(address: str, names: set[str], named: bool) -> None:
    assert web_address(address).is_named_in(names) is named


ODDITIES = [
    *"/@:[]%.。\\?#-_!&;=١１ßü",
    "//",
    "127",
    "0x",
    "::1",
    "ffff",
    "xn--",
    "xn--a",
    "8080",
    "localhost",
    "\u200d",
    "é",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(ODDITIES) | st.text(max_size=3), max_size=20).map("".join))
def test_whatever_is_read_as_an_address_stays_the_same_when_read_again(rest: str) -> None:
    try:
        address = web_address(f"http://{rest}")
    except BadValue:
        return

    assert re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:.]+", address.host)
    assert (address.url.raw_host, address.url.port, address.url.user) == (address.host, address.port, None)
    assert str(address.url).isascii()
    assert web_address(str(address.url)).url == address.url
