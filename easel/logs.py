"""One log for a process: a line for a record, with its job, and never with a secret."""

import json
import logging
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

from easel.redaction import Redact, redactor, secrets_of
from easel.settings import Settings

_log = logging.getLogger(__name__)

_TALKATIVE = ("httpx", "httpcore", "discord.http")
"""They log the address of each request, tokens included."""

_LOST = "A line logged at %s:%d could not be written (%s)."


def configure_logging(settings: Settings, *, secrets: Iterable[str] = ()) -> None:
    """Log to stderr alone, errors that nobody caught included; `secrets` are hidden besides those of the settings."""
    human = settings.log_format == "human" or (settings.log_format == "auto" and sys.stderr.isatty())
    redact = redactor([*secrets_of(settings), *secrets])
    handler = _Stderr(sys.stderr)
    handler.setFormatter(_ForPeople(redact) if human else _ForMachines(redact))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Python's own hooks would write past the handler, with whatever the exception says.
    sys.excepthook = lambda kind, error, trace: _tell(error)
    sys.unraisablehook = lambda event: _tell(event.exc_value)
    threading.excepthook = lambda event: _tell(event.exc_value)


def _tell(error: BaseException | None) -> None:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return
    _log.critical("An error that nobody caught", exc_info=error)


class _Formatter(logging.Formatter):
    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self._redact = redact

    def _said(self, record: logging.LogRecord) -> str:
        return self._redact(record.getMessage())

    def _job(self, record: logging.LogRecord) -> str:
        """Return the job that was given through `extra`, empty where there is none."""
        return self._redact(str(getattr(record, "job", "")))

    def _trace(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        return self._redact("\n".join(filter(None, (trace, record.stack_info))))


class _ForPeople(_Formatter):
    """A line for a record; a trace follows behind bars, so that none of its lines can pass for a record."""

    def format(self, record: logging.LogRecord) -> str:
        job = f" [{_visible(self._job(record))}]" if self._job(record) else ""
        head = f"{self.formatTime(record)} {record.levelname:<8} {record.name}{job}: {_visible(self._said(record))}"
        return "\n".join([head, *(f"    | {_visible(line)}" for line in self._trace(record).splitlines())])


class _ForMachines(_Formatter):
    """A JSON object in a line for a record, ASCII only: nothing in it can end the line or steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "job": self._job(record),
            "message": self._said(record),
            "error": self._trace(record),
        }
        return json.dumps({name: text for name, text in fields.items() if text})


def _visible(text: str) -> str:
    """Escape line ends, terminal codes, and what turns or hides text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class _Stderr(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Say that a line is lost, but not its arguments: logging's own way would show them as they are."""
        error = sys.exception()
        if record.msg is _LOST or isinstance(error, OSError):
            return
        where = (record.pathname, record.lineno, type(error).__name__)
        self.emit(logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, _LOST, where, None))
