"""Addresses that strangers give, against servers on loopback and a make-believe internet."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from easel.errors import BadValue
from easel.uploads.decode import prepare
from easel.web import Limits, fetch, opened
from tests.fakes.hostile_pictures import encoded, noise
from tests.fakes.internet import Handler, Internet, Server, serve

Serve = Callable[..., Awaitable[Server]]
LOCAL = frozenset({"127.0.0.1"})
PUBLIC = "8.8.4.4"


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", status=status, headers=f"Location: {location}\r\n")


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Internet:
    return Internet(monkeypatch)


@pytest.fixture
async def serving() -> AsyncIterator[Serve]:
    listening = []

    async def start(what: bytes | Handler, *, everywhere: bool = False) -> Server:
        server, door = await serve(what, everywhere=everywhere)
        listening.append(door)
        return server

    yield start
    for door in listening:
        door.close()


async def test_the_bytes_come_as_they_are(serving: Serve) -> None:
    server = await serving(answer(b"\x89PNG...", headers="Content-Type: text/html\r\nContent-Encoding: gzip\r\n"))

    assert await fetch(server.url, allow_private_hosts=LOCAL) == b"\x89PNG..."


async def test_a_public_host_is_reached_by_its_name(internet: Internet, serving: Serve) -> None:
    server = await serving(answer(b"picture"))
    internet.put("pictures.test", server, ip=PUBLIC)

    assert await fetch("http://Pictures.TEST./a%2Fb/ü?x=%41&sig=a+b/=#part") == b"picture"

    assert internet.tried == [(PUBLIC, 80)]
    lines = server.requests[0].split("\r\n")
    assert lines[0] == "GET /a%2Fb/%C3%BC?x=%41&sig=a+b/= HTTP/1.1"
    assert "Host: pictures.test" in lines


async def test_nothing_about_us_goes_along(internet: Internet, serving: Serve) -> None:
    second = await serving(answer(b"end"))
    internet.put("second.test", second, ip="1.1.1.1")
    first = await serving(answer(b"", status="302 Found", headers="Location: http://second.test/\r\n"))
    internet.put("first.test", first, ip=PUBLIC)

    await fetch("http://first.test/?token=secret")

    sent = {line.partition(":")[0].lower() for line in second.requests[0].strip().split("\r\n")[1:]}
    assert sent == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert "secret" not in second.requests[0]


async def test_a_cookie_is_forgotten_at_once(serving: Serve) -> None:
    server = await serving(answer(b"", status="302 Found", headers="Location: /next\r\nSet-Cookie: a=b\r\n"))

    with pytest.raises(BadValue, match="more than 1 times"):
        await fetch(server.url, limits=Limits(redirects=1), allow_private_hosts=LOCAL)

    assert server.targets == ["/", "/next"]
    assert "cookie" not in "".join(server.requests).lower()


async def test_neither_a_proxy_nor_a_password_of_ours_is_used(
    serving: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    proxy = await serving(answer(b"from the proxy"))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:  # noqa: PTH123
        file.write("default login me password secret\n")
    monkeypatch.setenv("NETRC", netrc)
    server = await serving(answer(b"from the site"))

    assert await fetch(server.url, allow_private_hosts=LOCAL) == b"from the site"

    assert proxy.connections == 0
    assert "authorization" not in server.requests[0].lower()


CLOSED_HOSTS = [
    *("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::]", "0", "0.0.0.0", "127.1"),
    *("127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.1."),
    *("127.000.000.001", "127.0.0.01", "１２７.0.0.1", "127。0。0。1", "127．0．0．1", "①②⑦.0.0.1", "a@127.0.0.1"),
    *(
        "a:b@127.0.0.1",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "ｌocalhost",
        "127.0.0.1%00.com",
        "127.0.0.1%2f",
        "[::1%25lo]",
    ),
    *("169.254.169.254", "metadata.google.internal", "100.64.0.1", "[fd00:ec2::254]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "[fec0::1]", "[fe80::1]", "10.0.0.1", "192.168.0.1", "172.16.0.1", "[2001:0:1::1]"),
    *("inside.test", "both.test", "127.0.0.1\\.pictures.test", "pictures.test\\@127.0.0.1", "", "[", "[::1", "::1"),
]


@pytest.mark.parametrize("host", CLOSED_HOSTS)
async def test_no_spelling_of_a_host_leads_inside(internet: Internet, serving: Serve, host: str) -> None:
    server = await serving(answer(b"SECRET"), everywhere=True)
    internet.names = {
        "localhost": [["::1", "127.0.0.1"]],
        "metadata.google.internal": [["169.254.169.254"]],
        "inside.test": [["10.1.2.3"]],
        "both.test": [[PUBLIC, "127.0.0.1"]],
    }

    for url in (f"http://{host}:{server.port}/", f"https://{host}:{server.port}/", f"http://{host}/"):
        with pytest.raises(BadValue) as caught:
            await fetch(url)
        assert "SECRET" not in str(caught.value)

    assert internet.tried == []
    assert server.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://pictures.test/", "gopher://127.0.0.1:70/_x", "data:image/png;base64,AAAA"),
        *(
            "javascript:alert(1)",
            "//pictures.test/",
            "pictures.test/x.png",
            "http:pictures.test",
            "http:/pictures.test/x",
        ),
        *("", "   ", "http://", "https:///x", "http://pictures.test:0/", "http://pictures.test:65536/"),
        *("http://pictures.test:٨٠/", "http://pictures.test:-1/", "http://pictures.test:/"),
        *(
            "http://pictures.test/\r\nX: y",
            "http://pictures.test/\nX",
            "http://pictures.test/\tx",
            "http://pictures.test/\0",
        ),
        *(
            "http://pictures.test/a b",
            "http://pictures.test\\x",
            "http://pictures.test/\u202egnp",
            "http://pic\u200btures.test/",
        ),
        *("http://me@pictures.test/", "http://me:secret@pictures.test/", "http://pictures.test:x@127.0.0.1/"),
        *(
            "http://pictures..test/",
            "http://.test/",
            "http://pictures.test../",
            f"http://{'a' * 64}.test/",
            "http://a%62.test/",
        ),
        *("http://\ud800.test/", "http://pictures.test/\ud800", f"http://pictures.test/{'a' * 10_000}"),
    ],
)
async def test_what_is_no_plain_address_is_refused_before_anything_is_looked_up(internet: Internet, url: str) -> None:
    internet.names["pictures.test"] = [[PUBLIC]]

    with pytest.raises(BadValue) as caught:
        await fetch(url)

    assert internet.tried == []
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", [1, 9, 22, 25, 110, 143, 587, 993])
async def test_ports_of_other_services_are_left_alone(internet: Internet, port: int) -> None:
    internet.names["pictures.test"] = [[PUBLIC]]

    with pytest.raises(BadValue, match=f"Port {port}"):
        await fetch(f"http://pictures.test:{port}/")

    assert internet.tried == []


async def test_a_named_host_may_be_private_and_no_other(internet: Internet, serving: Serve) -> None:
    server = await serving(answer(b"mine"), everywhere=True)
    internet.names["nas.lan"] = [["127.0.0.1"]]

    named = frozenset({"nas.lan"})
    assert await fetch(f"http://nas.lan:{server.port}/", allow_private_hosts=named) == b"mine"
    assert await fetch(f"http://[::1]:{server.port}/", allow_private_hosts=frozenset({"::1"})) == b"mine"
    with pytest.raises(BadValue, match="can not be reached"):
        await fetch(server.url, allow_private_hosts=named)
    assert server.connections == 2


async def test_a_host_may_be_named_for_one_port(serving: Serve) -> None:
    server, other = await serving(answer(b"mine")), await serving(answer(b"not mine"))
    named = frozenset({f"127.0.0.1:{server.port}"})

    assert await fetch(server.url, allow_private_hosts=named) == b"mine"
    with pytest.raises(BadValue):
        await fetch(other.url, allow_private_hosts=named)
    assert other.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.1:{port}/", "http://[::1]:{port}/", "//127.0.0.1:{port}/", "http://127.1:{port}/"),
        *("http://localhost:{port}/", "http://u@pictures.test/", "file:///etc/passwd", "gopher://pictures.test/"),
        *(
            "ftp://pictures.test/",
            "data:image/png;base64,AA",
            "http://pictures.test:{port}/",
            "http://pictures.test:22/",
        ),
        *("http://\\\\127.0.0.1:{port}/", "/a b", "", "http://[", "https://rebound.test/"),
    ],
)
async def test_a_redirect_that_leads_astray_is_not_followed(internet: Internet, serving: Serve, location: str) -> None:
    inside = await serving(answer(b"SECRET"), everywhere=True)
    server = await serving(redirect(location.format(port=inside.port)))
    internet.put("pictures.test", server, ip=PUBLIC)
    internet.names |= {"localhost": [["127.0.0.1"]], "rebound.test": [["10.0.0.1"]]}

    with pytest.raises(BadValue):
        await fetch("http://pictures.test/")

    assert internet.tried == [(PUBLIC, 80)]
    assert inside.connections == 0


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_may_lead_to_a_named_host(serving: Serve, status: str) -> None:
    target = await serving(answer(b"picture"))
    server = await serving(redirect(target.url, status))

    assert await fetch(server.url, allow_private_hosts=LOCAL) == b"picture"


async def test_a_name_that_changes_its_mind_is_checked_again(internet: Internet, serving: Serve) -> None:
    server = await serving(redirect("/again"))
    internet.put("rebinding.test", server, ip=PUBLIC)
    internet.names["rebinding.test"].append(["127.0.0.1"])
    internet.hosts["127.0.0.1", 80] = server.port

    with pytest.raises(BadValue, match="can not be reached"):
        await fetch("http://rebinding.test/")

    assert internet.tried == [(PUBLIC, 80)]
    assert server.targets == ["/"]


async def test_whoever_really_answers_must_be_public_too(internet: Internet, serving: Serve) -> None:
    server = await serving(answer(b"SECRET"))
    internet.put("pictures.test", server, ip=PUBLIC)
    internet.disguise = False

    with pytest.raises(BadValue, match="can not be reached"):
        await fetch("http://pictures.test/")

    assert internet.tried == [(PUBLIC, 80)]
    assert server.requests == [], "it was connected to, but told nothing"


async def test_a_public_address_of_our_own_is_told_nothing(
    internet: Internet, serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serving(answer(b"SECRET"))
    internet.put("ourselves.test", server, ip=PUBLIC)
    monkeypatch.setattr(socket.socket, "getsockname", lambda sock: (PUBLIC, 40_000), raising=False)

    with pytest.raises(BadValue, match="can not be reached"):
        await fetch("http://ourselves.test/")

    assert server.requests == []


async def test_five_redirects_are_followed_and_no_more(serving: Serve) -> None:
    async def onward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        step = int(server.targets[-1].strip("/") or 0)
        writer.write(answer(b"end") if step == 5 else redirect(f"/{step + 1}"))
        await writer.drain()

    server = await serving(onward)

    assert await fetch(server.url, allow_private_hosts=LOCAL) == b"end"
    with pytest.raises(BadValue, match="more than 4 times"):
        await fetch(server.url, limits=Limits(redirects=4), allow_private_hosts=LOCAL)
    assert server.targets == ["/", "/1", "/2", "/3", "/4", "/5", "/", "/1", "/2", "/3", "/4"]


async def test_a_page_that_refreshes_itself_is_just_a_page(serving: Serve) -> None:
    inside = await serving(answer(b"SECRET"))
    server = await serving(answer(b"<html>", headers=f"Refresh: 0; url={inside.url}\r\n"))

    assert await fetch(server.url, allow_private_hosts=LOCAL) == b"<html>"

    assert inside.connections == 0


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("401 Unauthorized", r"strangers \(401\)"),
        ("403 Forbidden", r"strangers \(403\)"),
        ("404 Not Found", r"nothing at that address \(404\)"),
        ("410 Gone", r"nothing at that address \(410\)"),
        ("429 Too Many", r"did not hand it over \(429\)"),
        ("500 Oops", r"did not hand it over \(500\)"),
        ("206 Partial Content", r"did not hand it over \(206\)"),
        ("304 Not Modified", r"did not hand it over \(304\)"),
    ],
)
async def test_a_site_that_refuses_is_understood(serving: Serve, status: str, sentence: str) -> None:
    server = await serving(answer(b"", status=status))

    with pytest.raises(BadValue, match=sentence):
        await fetch(server.url, allow_private_hosts=LOCAL)


async def test_a_declared_length_beyond_the_cap_is_not_waited_for(serving: Serve) -> None:
    server = await serving(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")

    with pytest.raises(BadValue, match="more than 20 MB"):
        await fetch(server.url, allow_private_hosts=LOCAL)


@pytest.mark.parametrize("headers", ["", "Transfer-Encoding: chunked\r\n"])
async def test_a_stream_without_end_is_cut_at_the_cap(serving: Serve, headers: str) -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode())
        part = b"\0" * 2**16
        while True:
            writer.write(b"10000\r\n" + part + b"\r\n" if headers else part)
            await writer.drain()
            sent += len(part)

    server = await serving(endless)

    with pytest.raises(BadValue, match="more than 20 MB"):
        await fetch(server.url, allow_private_hosts=LOCAL)
    assert sent < 30 * 2**20


async def test_a_server_that_breaks_off_gives_nothing(serving: Serve) -> None:
    server = await serving(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")

    with pytest.raises(BadValue, match="broke off"):
        await fetch(server.url, allow_private_hosts=LOCAL)


async def test_bytes_beyond_the_declared_length_never_come_through(serving: Serve) -> None:
    server = await serving(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and a tail")

    try:
        body = await fetch(server.url, allow_private_hosts=LOCAL)
    except BadValue:  # the parser saw all of it at once
        body = b"four"
    assert body == b"four"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
async def test_a_server_that_drips_is_left_after_the_time_is_up(serving: Serve, head: bytes) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    server = await serving(drip)
    start = time.monotonic()

    with pytest.raises(BadValue, match="took longer than"):
        await fetch(server.url, limits=Limits(seconds=0.5), allow_private_hosts=LOCAL)
    assert time.monotonic() - start < 20


async def test_the_time_counts_over_all_redirects(serving: Serve) -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(redirect("/"))
        await writer.drain()

    server = await serving(slowly)

    with pytest.raises(BadValue, match="took longer than"):
        await fetch(server.url, limits=Limits(seconds=0.7), allow_private_hosts=LOCAL)


@pytest.mark.parametrize("bytes_", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"])
async def test_a_server_that_speaks_no_http_gets_a_sentence(serving: Serve, bytes_: bytes) -> None:
    server = await serving(bytes_)

    with pytest.raises(BadValue, match=r"`127\.0\.0\.1`"):
        await fetch(server.url, allow_private_hosts=LOCAL)


async def test_a_dead_port_and_a_closed_network_sound_alike(internet: Internet) -> None:
    internet.names = {"gone.test": [[PUBLIC]], "inside.test": [["10.0.0.1"]]}
    sentences = set()

    for host in ("gone.test", "inside.test", "unknown.test"):
        with pytest.raises(BadValue) as caught:
            await fetch(f"http://{host}/")
        sentences.add(str(caught.value).replace(host, "HOST"))

    assert len(sentences) == 1


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (b"<!doctype html><title>Log in</title>", "image/png", "a web page, not a picture"),
        (b"", "image/png", "empty"),
        (b"%!PS-Adobe", "image/jpeg", "a PostScript file"),
        (b'{"error": 1}', "image/webp", "no picture that is known"),
    ],
)
async def test_what_a_site_says_that_it_is_counts_for_nothing(
    serving: Serve, body: bytes, kind: str, sentence: str
) -> None:
    server = await serving(answer(body, headers=f"Content-Type: {kind}\r\n"))

    with pytest.raises(BadValue, match=sentence):
        await prepare(await fetch(f"{server.url}picture.png", allow_private_hosts=LOCAL))


async def test_a_picture_is_taken_whatever_it_is_called(serving: Serve) -> None:
    server = await serving(answer(encoded(noise(40, 24), "WEBP"), headers="Content-Type: text/html\r\n"))

    prepared = await prepare(await fetch(f"{server.url}page.html", allow_private_hosts=LOCAL))

    assert (prepared.width, prepared.height) == (40, 24)


async def test_a_large_file_can_be_read_as_it_comes(serving: Serve) -> None:
    server = await serving(answer(b"x" * 100_000))

    async with opened(server.url, redirects=0, allow_private_hosts=LOCAL) as response:
        parts = [part async for part in response.content.iter_any()]

    assert b"".join(parts) == b"x" * 100_000


async def test_an_error_of_the_reader_stays_its_own(serving: Serve) -> None:
    server = await serving(answer(b"x"))

    with pytest.raises(OSError, match="disk full"):
        async with opened(server.url, redirects=0, allow_private_hosts=LOCAL):
            raise OSError("disk full")
