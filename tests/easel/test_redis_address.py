"""Which Redis may carry the queue."""

import pytest

from easel.errors import SettingsError
from easel.settings import load_settings


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://127.8.9.1",
        "redis://[::1]:6379",
        "unix:///run/valkey.sock",
        "redis://:secret@redis:6379/0",
        "redis://me:secret@10.0.0.7",
        "redis://redis?password=secret",
        "rediss://:secret@example.org:6380/1?ssl_ca_certs=/etc/ca.pem",
    ],
)
def test_a_redis_that_strangers_can_not_use_is_accepted(url: str) -> None:
    assert load_settings({"REDIS_URL": url}).environment()["REDIS_URL"] == url


@pytest.mark.parametrize(
    "url",
    [
        "canary",
        "http://canary",
        "redis://",
        "redis:/canary",
        "redis://h:99999",
        "redis://[canary",
        "unix://",
        "//canary",
    ],
)
def test_an_address_that_is_none_of_redis_is_refused_unseen(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"REDIS_URL": url, "EASEL_ALLOW_INSECURE_REDIS": "1"})

    assert str(caught.value) == "REDIS_URL is `***`, but must be a redis://, rediss:// or unix:// address."


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://redis:6379/0", "with a password"),
        ("redis://10.0.0.7", "with a password"),
        ("redis://user@example.org", "with a password"),
        ("redis://127.0.0.1.example.org", "with a password"),
        ("rediss://example.org", "with a password"),
        ("rediss://:secret@example.org?ssl_cert_reqs=none", "has the certificate checked"),
        ("rediss://:secret@example.org?ssl_check_hostname=false", "has the certificate checked"),
    ],
)
def test_a_redis_open_to_strangers_is_refused_unless_that_is_allowed(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"^REDIS_URL is .*{said}.*EASEL_ALLOW_INSECURE_REDIS=1\\.$") as caught:
        load_settings({"REDIS_URL": url})

    assert "secret" not in str(caught.value)
    assert load_settings({"REDIS_URL": url, "EASEL_ALLOW_INSECURE_REDIS": "1"}).allow_insecure_redis
