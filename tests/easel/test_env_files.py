"""What stands in `.env` and in the files that `*_FILE` variables name."""

import logging
import os
from pathlib import Path

import pytest

from easel.errors import SettingsError
from easel.settings import load_settings

SECRETS = {
    "DISCORD_TOKEN": "canary-discord.abc.def",
    "TELEGRAM_TOKEN": "123456:canary-telegram",
    "REDIS_URL": "redis://:canary-password@redis:6379/0",
    "EASEL_KEY": "canary-key-" + "k" * 32,
}
DISCORD = SECRETS["DISCORD_TOKEN"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty, so without a `.env`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_written_by_an_editor_on_windows_is_read(folder: Path) -> None:
    (folder / ".env").write_bytes(b"\xef\xbb\xbfDISCORD_TOKEN=abc\r\nEASEL_DTYPE='float16'\r\n")

    settings = load_settings({})

    assert settings.discord_token is not None
    assert settings.discord_token.get_secret_value() == "abc"
    assert settings.gpu_dtype == "float16"


def test_a_settings_file_that_is_no_text_is_named_and_not_quoted(folder: Path) -> None:
    (folder / ".env").write_bytes(b"DISCORD_TOKEN=canary\xff\n")

    with pytest.raises(SettingsError, match=r"^\.env can not be read: it is not text in UTF-8\.$"):
        load_settings({})


@pytest.mark.parametrize(("variable", "secret"), SECRETS.items())
def test_a_secret_may_stand_in_a_file(folder: Path, variable: str, secret: str) -> None:
    file = folder / "secret"
    file.write_text(f"{secret}\n")

    settings = load_settings({f"{variable}_FILE": str(file)})

    assert settings.environment()[variable] == secret


def test_a_secret_in_two_places_is_refused(folder: Path) -> None:
    file = folder / "secret"
    file.write_text(DISCORD)

    with pytest.raises(SettingsError, match=r"^DISCORD_TOKEN and DISCORD_TOKEN_FILE are both set; keep one of them\.$"):
        load_settings({"DISCORD_TOKEN": DISCORD, "DISCORD_TOKEN_FILE": str(file)})


def test_a_secret_file_without_a_secret_is_refused(folder: Path) -> None:
    (folder / "empty").write_text(" \n")
    (folder / "binary").write_bytes(b"canary\xff")
    (folder / "folder").mkdir()
    said = {
        "nowhere": "no such file or directory",
        "empty": "it is empty",
        "binary": "it is not text in UTF-8",
        "folder": "is a directory",
    }

    for name, reason in said.items():
        with pytest.raises(SettingsError) as caught:
            load_settings({"EASEL_KEY_FILE": name})

        assert str(caught.value) == f"EASEL_KEY_FILE is `{name}`, but must be a file with the secret in it: {reason}."


@pytest.mark.skipif(os.name != "posix", reason="file modes")
@pytest.mark.parametrize(
    ("text", "mode", "environ", "warned"),
    [
        (f"DISCORD_TOKEN={DISCORD}", 0o644, {}, True),
        (f"DISCORD_TOKEN={DISCORD}", 0o600, {}, False),
        (f"DISCORD_TOKEN={DISCORD}", 0o640, {}, False),
        ("DISCORD_TOKEN=\nEASEL_DTYPE=float16", 0o644, {}, False),
        (f"DISCORD_TOKEN={DISCORD}", 0o644, {"DISCORD_TOKEN": DISCORD}, False),
    ],
)
def test_a_file_of_secrets_that_everybody_can_read_is_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture, text: str, mode: int, environ: dict[str, str], warned: bool
) -> None:
    (folder / ".env").write_text(text)
    (folder / ".env").chmod(mode)

    with caplog.at_level(logging.WARNING):
        load_settings(environ)

    assert ["chmod 600 .env" in message for message in caplog.messages] == [True] * warned
    assert DISCORD not in caplog.text
