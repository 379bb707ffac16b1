"""What is set, how it is read, and what is said when it is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from easel.errors import SettingsError
from easel.settings import Settings, example, load_settings

ROOT = Path(__file__).parents[2]
DISCORD = "canary-discord.abc.def"
TELEGRAM = "123456:canary-telegram"
KEY = "canary-key-" + "k" * 32
CANARIES = {
    "DISCORD_TOKEN": DISCORD,
    "TELEGRAM_TOKEN": TELEGRAM,
    "REDIS_URL": "redis://:canary-password@redis:6379/0",
    "EASEL_KEY": KEY,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty, so without a `.env`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_nothing_is_needed(folder: Path) -> None:
    settings = load_settings({})

    assert settings.discord_token is None
    assert settings.redis_url is None
    assert settings.models_dir == (folder / "models",)
    assert settings.models_file == folder / "models.yaml"
    assert settings.data_dir == folder / "data"
    assert settings.admins == frozenset()
    assert (settings.device, settings.gpu_dtype) == ("", "auto")
    assert (settings.log_level, settings.log_format) == ("INFO", "auto")
    assert list(folder.iterdir()) == []


def test_the_environment_wins_over_the_file_and_an_override_over_both(folder: Path) -> None:
    write(folder / ".env", "EASEL_LOG_LEVEL=debug\nEASEL_DTYPE=float32\nEASEL_DATA_DIR=/from-file\n")

    settings = load_settings({"EASEL_DTYPE": "bfloat16", "EASEL_DATA_DIR": "/from-environment"}, data_dir="/chosen")

    assert settings.log_level == "DEBUG"
    assert settings.gpu_dtype == "bfloat16"
    assert settings.data_dir == Path("/chosen")


def test_an_override_of_none_changes_nothing() -> None:
    assert load_settings({"EASEL_DTYPE": "bfloat16"}, gpu_dtype=None).gpu_dtype == "bfloat16"


def test_empty_means_unset_and_hides_the_line_in_the_file(folder: Path) -> None:
    write(folder / ".env", f"DISCORD_TOKEN={DISCORD}\n")

    settings = load_settings({"DISCORD_TOKEN": "", "TELEGRAM_TOKEN": "  ", "EASEL_LOG_LEVEL": "", "EASEL_NONSENSE": ""})

    assert settings.discord_token is None
    assert settings.telegram_token is None
    assert settings.log_level == "INFO"


def test_several_model_folders_are_parted_by_either_sign(folder: Path) -> None:
    assert load_settings({"EASEL_MODELS_DIR": "/a;b; /c ;"}).models_dir == (Path("/a"), folder / "b", Path("/c"))
    assert load_settings({"EASEL_MODELS_DIR": f"/a{os.pathsep}/b"}).models_dir == (Path("/a"), Path("/b"))


def test_admins_are_known_by_network_and_id() -> None:
    settings = load_settings({"EASEL_ADMINS": " discord:1, telegram:2 ,local:me,"})

    assert settings.is_admin("discord:1")
    assert settings.is_admin("telegram:2")
    assert settings.is_admin("local:me")
    assert not settings.is_admin("telegram:1")
    assert not settings.is_admin("discord:12")
    assert not settings.is_admin("")


WRONG = [
    ("EASEL_LOG_LEVEL", "loud", "`loud`, but must be DEBUG, INFO, WARNING or ERROR."),
    ("EASEL_LOG_FORMAT", "xml", "`xml`, but must be auto, human or json."),
    ("EASEL_DTYPE", "half", "`half`, but must be auto, float16, bfloat16 or float32."),
    ("EASEL_DEVICE", "gpu", "`gpu`, but must be cpu, cuda, cuda:N, xpu, xpu:N or mps."),
    ("EASEL_ALLOW_INSECURE_REDIS", "maybe", "`maybe`, but must be 1 or 0."),
    ("EASEL_MODELS_DIR", ";", "`;`, but must be a folder, or several parted by ;."),
    ("EASEL_ADMINS", "discord:@me", "`discord:@me`, but must be a list like discord:ID,telegram:ID with numeric ids."),
    ("EASEL_ADMINS", "17", "`17`, but must be a list like discord:ID,telegram:ID with numeric ids."),
    ("DISCORD_API_BASE", "discord.com", "`discord.com`, but must be an http:// or https:// address."),
    ("DISCORD_GATEWAY", "https://x", "`https://x`, but must be a ws:// or wss:// address."),
    (
        "TELEGRAM_API_BASE",
        "http://localhost:8081",
        "`http://localhost:8081`, but must be an http:// or https:// address that ends in /bot.",
    ),
    ("EASEL_LOG_LEVEL", "a\nb\x1b[2J" + "c" * 500, r"`a\nb\x1b[2J" + "c" * 73 + "`, but must be"),
    ("DISCORD_TOKEN", f"Bot {DISCORD}", "`***`, but must be a bot token: one word without spaces."),
    ("TELEGRAM_TOKEN", DISCORD, "`***`, but must be a bot token: digits, a colon, and letters without spaces."),
    ("EASEL_KEY", "canary", "`***`, but must be at least 32 characters, as `openssl rand -hex 32` prints them."),
]


@pytest.mark.parametrize(("variable", "value", "said"), WRONG)
def test_a_wrong_value_is_answered_with_one_sentence(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({variable: value})

    assert str(caught.value).startswith(f"{variable} is {said}")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_unknown_setting_names_the_nearest_and_not_its_value() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"EASEL_KEYS": KEY})

    assert str(caught.value) == "There is no setting EASEL_KEYS; did you mean EASEL_KEY?"


def test_an_unknown_setting_in_the_file_is_named_too(folder: Path) -> None:
    write(folder / ".env", "EASEL_MODEL_DIR=/models\nREDIS_PASSWORD=for-compose\n")

    with pytest.raises(SettingsError, match=r"no setting EASEL_MODEL_DIR; did you mean EASEL_MODELS_DIR\?"):
        load_settings({})


def test_no_secret_is_shown_with_the_settings() -> None:
    settings = load_settings(CANARIES)

    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_changed_copy_is_checked_too() -> None:
    settings = load_settings({"EASEL_ADMINS": "discord:1"})

    assert settings.changed(redis_url="unix:///run/x.sock").is_admin("discord:1")
    with pytest.raises(SettingsError, match=r"^REDIS_URL is .* with a password"):
        settings.changed(redis_url="redis://redis")


def test_a_child_process_is_handed_the_same_settings(folder: Path) -> None:
    write(folder / ".env", "DISCORD_GATEWAY=wss://other\nEASEL_DEVICE=cpu\n")
    file = write(folder / "secret", DISCORD)
    outside = {"DISCORD_TOKEN_FILE": str(file), "DISCORD_GATEWAY": "", "EASEL_MODELS_DIR": "a;b"}
    settings = load_settings(outside, admins="discord:1,telegram:2", allow_insecure_redis=True)

    child = load_settings(outside | settings.environment())

    assert child == settings
    assert child.discord_gateway is None
    assert child.admins == {("discord", "1"), ("telegram", "2")}


def test_nothing_is_read_at_import() -> None:
    code = "import easel.settings as s; s.Settings(); s.example()"

    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT), "EASEL_LOG_LEVEL": "loud", "EASEL_NONSENSE": "1", "LOG_LEVEL": "loud"},
        capture_output=True,
        check=False,
    )

    assert (answer.returncode, answer.stderr) == (0, b"")


def test_the_example_file_is_what_the_settings_say() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "easel.settings"], env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )

    assert printed.stdout.decode() == example()
    assert (ROOT / ".env.example").read_text() == example()


def test_the_example_file_changes_nothing_as_it_is_or_with_its_defaults(folder: Path) -> None:
    write(folder / ".env", example())
    assert load_settings({}) == Settings()

    write(folder / ".env", example().replace("\n#EASEL", "\nEASEL").replace("\n#DISCORD", "\nDISCORD"))
    assert load_settings({}) == Settings()


def test_every_example_in_the_example_file_is_accepted(folder: Path) -> None:
    shown = [line.removeprefix("# For example: ") for line in example().splitlines() if "For example: " in line]

    write(folder / ".env", "\n".join(shown))
    settings = load_settings({})

    assert len(shown) >= 6
    assert all(settings.environment()[variable] for variable, _, _ in (line.partition("=") for line in shown))
