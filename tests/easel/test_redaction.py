"""What is hidden in a text, and what is not."""

import pytest
from pydantic import SecretStr

from easel.redaction import redactor, secrets_of
from easel.settings import Settings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "PATCH https://discord.com/api/v10/webhooks/80351/aW50-canary_1.x/messages/@original",
            "PATCH https://discord.com/api/v10/webhooks/80351/***/messages/@original",
        ),
        ("POST /interactions/80351/canary/callback failed", "POST /interactions/80351/***/callback failed"),
        ("/webhooks/80351/canary?wait=true 'x'", "/webhooks/80351/***?wait=true 'x'"),
        ("https://api.telegram.org/bot9999:canary-X_/getMe", "https://api.telegram.org/bot***/getMe"),
        ("https://api.telegram.org/file/bot9999%3Acanary/a.jpg", "https://api.telegram.org/file/bot***/a.jpg"),
        ("redis://me:canary@example.org/0", "redis://***@example.org/0"),
        ("{'id': '1', 'token': 'canary', 'type': 2}", "{'id': '1', 'token': '***', 'type': 2}"),
        ('{"token":"canary"}', '{"token":"***"}'),
        ("Address(interaction_token='canary', n=1)", "Address(interaction_token='***', n=1)"),
        ("bot 9999: ready; 12:30:45, a/b/c, http://x/@y", "bot 9999: ready; 12:30:45, a/b/c, http://x/@y"),
    ],
)
def test_what_looks_like_a_token_is_hidden_though_nobody_named_it(text: str, shown: str) -> None:
    assert redactor([])(text) == shown


def test_the_password_of_redis_is_hidden_however_it_is_written() -> None:
    redact = redactor(secrets_of(Settings(redis_url=SecretStr("redis://:p%40ss%2Fw%C3%B6rd@redis:6379/0"))))

    assert redact("p%40ss%2Fw%C3%B6rd, p@ss/wörd, 'p@ss/w\\xf6rd', p@ss/w\\u00f6rd") == "***, ***, '***', ***"


def test_a_password_in_the_query_is_hidden() -> None:
    redact = redactor(secrets_of(Settings(redis_url=SecretStr("redis://redis?password=canary"))))

    assert redact("redis://redis?password=canary") == "redis://redis?password=***"


def test_a_short_password_is_hidden_where_it_stands_alone() -> None:
    redact = redactor(secrets_of(Settings(redis_url=SecretStr("redis://:abc@redis:6379/0"))))

    assert redact("redis://:abc@redis, abc, 'abc', but abcdef") == "redis://***@redis, ***, '***', but abcdef"


def test_an_address_without_a_password_can_be_seen() -> None:
    address = "redis://localhost:6379/0"

    assert redactor(secrets_of(Settings(redis_url=SecretStr(address))))(address) == address


def test_without_secrets_a_text_stays_as_it_is() -> None:
    assert redactor(["", ""])("plain text") == "plain text"
