"""What a log line shows, what it hides, and that it stays one line."""

import json
import logging
import os
import pty
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import telegram

from easel.logs import configure_logging
from easel.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
SECRETS = {
    "DISCORD_TOKEN": "canary-MTk4.Cl2FMQ.ZnCjm1XVW7",
    "TELEGRAM_TOKEN": "123456:AAcanaryHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
    "REDIS_URL": "redis://:canary%2Fpass'word@redis:6379/0",
    "EASEL_KEY": "canary-key-0123456789abcdef0123456789",
}
log = logging.getLogger("easel.test")


class Holder:
    """An object that shows what it holds, as many clients do."""

    def __init__(self, held: str) -> None:
        self._held = held

    def __repr__(self) -> str:
        return f"Holder({self._held!r})"


@pytest.fixture(autouse=True)
def python_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the log and Python's hooks back."""
    root = logging.getLogger()
    talkative = [logging.getLogger(name) for name in ("httpx", "httpcore", "discord.http")]
    levels = [(logger, logger.level) for logger in (root, *talkative)]
    handlers, root.handlers = root.handlers, []
    for module, hook in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    yield
    logging.captureWarnings(False)
    root.handlers = handlers
    for logger, level in levels:
        logger.setLevel(level)


Lines = Callable[[], list[str]]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return the lines that were logged since the last call."""

    def read() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return read


def settings(form: str = "json", **environ: str) -> Settings:
    return load_settings(SECRETS | {"EASEL_LOG_FORMAT": form, "EASEL_LOG_LEVEL": "DEBUG"} | environ)


def only(lines: list[str]) -> dict[str, Any]:
    (line,) = lines
    fields: dict[str, Any] = json.loads(line)
    return fields


def spill(secret: str) -> None:
    """Log a secret in every way that a line can carry one."""
    log.info("in the message: " + secret)  # noqa: G003 - what others do
    log.info("as an argument: %s and %r", secret, secret)
    log.info("by name: %(token)s", {"token": secret})
    log.info("in an object: %r in %s", Holder(secret), [Holder(secret), {"key": secret}])
    log.info("in the extra", extra={"job": secret})
    log.info("with a stack", stack_info=True)
    try:
        try:
            raise ValueError(f"no such thing: {secret}")
        except ValueError as error:
            error.add_note(f"it was {secret!r}")
            raise RuntimeError(Holder(secret)) from error
    except RuntimeError:
        log.exception("It failed with %s", secret)


@pytest.mark.parametrize("form", ["human", "json"])
@pytest.mark.parametrize(
    "secret",
    [
        *SECRETS.values(),
        "canary%2Fpass'word",
        "canary/pass'word",
        "AAcanaryHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        'canary "quoted" \\ more',
    ],
)
def test_no_secret_is_written(written: Lines, form: str, secret: str) -> None:
    configure_logging(settings(form), secrets=['canary "quoted" \\ more'])

    spill(secret)

    text = "\n".join(written())
    assert "canary" not in text
    assert text.count("***") >= 10
    assert "It failed with" in text


def test_telegrams_own_client_does_not_give_its_token_away(written: Lines) -> None:
    configure_logging(settings())
    logging.getLogger("httpx").setLevel(logging.INFO)
    token = SECRETS["TELEGRAM_TOKEN"]

    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        client.get(f"https://api.telegram.org/bot{token}/getMe")
    log.info("%r", telegram.Bot(token))

    lines = written()
    assert any("bot***/getMe" in line for line in lines)
    assert any("Bot[token=***]" in line for line in lines)
    assert "canary" not in "".join(lines)


def test_clients_that_log_each_request_are_told_to_be_quiet(written: Lines) -> None:
    configure_logging(settings())

    for name in ("httpx", "httpcore.connection", "discord.http"):
        logging.getLogger(name).info("HTTP Request: GET /")
    logging.getLogger("httpx").warning("Slow")

    assert only(written())["message"] == "Slow"


def test_a_line_for_machines_names_time_level_logger_and_job(written: Lines) -> None:
    configure_logging(settings())

    log.warning("Drawn in %d s", 3, extra={"job": "abc123"})

    fields = only(written())
    assert fields.pop("time").endswith("+00:00")
    assert fields == {"level": "WARNING", "logger": "easel.test", "job": "abc123", "message": "Drawn in 3 s"}


def test_a_line_for_people_names_the_job_too(written: Lines) -> None:
    configure_logging(settings("human"))

    log.warning("Drawn", extra={"job": "abc123"})
    log.warning("Idle")

    first, second = written()
    assert first.endswith(" WARNING  easel.test [abc123]: Drawn")
    assert second.endswith(" WARNING  easel.test: Idle")


ODD = 'a\r\n2026-11-23 21:00:00,000 ERROR    easel: forged\x1b[2J\x9b1m\u2028\u202e\x00\ud800{"level": "ERROR"}'


@pytest.mark.parametrize("form", ["human", "json"])
def test_a_prompt_can_not_forge_a_line_or_steer_the_terminal(written: Lines, form: str) -> None:
    configure_logging(settings(form))

    log.info("Asked for %s", ODD, extra={"job": ODD})

    (line,) = written()
    assert line.isprintable()
    assert "forged" in line


def test_a_trace_for_people_stands_behind_bars_and_one_for_machines_in_the_line(written: Lines) -> None:
    def fail() -> None:
        try:
            raise ValueError(ODD)
        except ValueError:
            log.exception("It failed")

    configure_logging(settings("human"))
    fail()
    head, *trace = written()
    configure_logging(settings("json"))
    fail()
    fields = only(written())

    assert head.endswith("ERROR    easel.test: It failed")
    assert len(trace) > 3
    assert all(line.startswith("    | ") and line.isprintable() for line in trace)
    assert fields["error"].startswith("Traceback (most recent call last):\n")
    assert fields["error"].endswith(ODD)


def test_configuring_again_replaces_what_was_configured(written: Lines) -> None:
    configure_logging(settings())
    configure_logging(settings(EASEL_LOG_LEVEL="WARNING"))

    log.info("unimportant")
    log.warning("important")

    assert only(written())["message"] == "important"


def test_a_line_that_can_not_be_written_says_so_without_its_arguments(written: Lines) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError(SECRETS["DISCORD_TOKEN"])

    configure_logging(settings(DISCORD_TOKEN=""))

    log.info("%s %s", "canary")  # noqa: PLE1206 - that is the mistake
    log.info("%r", Broken())

    first, second = (json.loads(line) for line in written())
    assert first["message"].startswith("A line logged at ")
    assert first["message"].endswith(" could not be written (TypeError).")
    assert second["message"].endswith(" could not be written (ValueError).")


def test_a_log_that_is_closed_stops_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logging(settings())

    log.info("nobody reads this")

    assert (tmp_path / "log").read_text() == ""


def test_warnings_of_python_go_the_same_way(written: Lines) -> None:
    configure_logging(settings())

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn(f"old: {SECRETS['DISCORD_TOKEN']}", DeprecationWarning, stacklevel=1)

    assert "DeprecationWarning: old: ***" in only(written())["message"]


def run(code: str) -> "subprocess.CompletedProcess[str]":
    prelude = "from easel.settings import load_settings; from easel.logs import configure_logging\n"
    prelude += "configure_logging(load_settings())\ndef fail():\n    raise ValueError(__import__('os').environ['DISCORD_TOKEN'])\n"
    environ = SECRETS | {"PYTHONPATH": str(ROOT), "EASEL_LOG_FORMAT": "json"}
    return subprocess.run(
        [sys.executable, "-c", prelude + code], env=environ, capture_output=True, text=True, check=False
    )


IN_A_THREAD = """
import threading
thread = threading.Thread(target=fail)
thread.start()
thread.join()
raise SystemExit(1)
"""
WHILE_CLEANING_UP = """
class Bad:
    def __del__(self): fail()
Bad()
raise SystemExit(1)
"""


@pytest.mark.parametrize("code", ["fail()", IN_A_THREAD, WHILE_CLEANING_UP])
def test_an_error_that_nobody_caught_is_logged_like_any_other(code: str) -> None:
    answer = run(code)

    fields = only(answer.stderr.splitlines())
    assert answer.returncode == 1
    assert fields["level"] == "CRITICAL"
    assert fields["error"].endswith("ValueError: ***")


def test_a_terminal_gets_lines_for_people_and_a_pipe_gets_json() -> None:
    code = "import logging; from easel.settings import load_settings; from easel.logs import configure_logging\n"
    code += "configure_logging(load_settings({})); logging.warning('Hello')"
    words, environ = [sys.executable, "-c", code], {"PYTHONPATH": str(ROOT)}
    ours, theirs = pty.openpty()

    with subprocess.Popen(words, env=environ, stderr=theirs) as process:
        os.close(theirs)
        seen = os.read(ours, 1000).decode()
    os.close(ours)
    piped = subprocess.run(words, env=environ, capture_output=True, text=True, check=True).stderr

    assert process.returncode == 0
    assert seen.endswith(" WARNING  root: Hello\r\n")
    assert only(piped.splitlines())["message"] == "Hello"
