"""Reads what stands in files instead of the environment: `.env`, and the secrets that `*_FILE` variables name."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic_settings import BaseSettings, DotEnvSettingsSource

from easel.errors import SettingsError

_log = logging.getLogger(__name__)

_SECRET_FILE_LIMIT = 65_536
"""Characters; a secret is one line, and a wrong path may lead to a device that never ends."""


def plain(text: str) -> str:
    """Cut and escape what somebody typed, so that it fits in a line."""
    return ascii(text[:80])[1:-1]


def read_dotenv(file: Path) -> dict[str, str]:
    """Return the variables in `file`, none if there is no such file."""
    try:
        source = DotEnvSettingsSource(BaseSettings, env_file=file, env_file_encoding="utf-8-sig", case_sensitive=True)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} can not be read: {_reason(error)}.") from None
    return {name: value for name, value in source.env_vars.items() if value is not None}


def warn_if_open(file: Path) -> None:
    """Log a warning about a file of secrets that everybody on this machine can read."""
    if os.name == "posix" and file.stat().st_mode & 0o004:
        _log.warning("%s holds a secret that every user of this machine can read; run: chmod 600 %s", file, file)


def read_secret(variable: str, given: Mapping[str, str]) -> str:
    """Return what stands in the file that `variable`_FILE names; raise SettingsError where that is nothing."""
    if variable in given:
        raise SettingsError(f"{variable} and {variable}_FILE are both set; keep one of them.")
    file = given[f"{variable}_FILE"]
    secret, why = "", "it is empty"
    try:
        with Path(file).expanduser().open(encoding="utf-8") as opened:
            secret = opened.read(_SECRET_FILE_LIMIT).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = _reason(error)
    if not secret:
        raise SettingsError(f"{variable}_FILE is `{plain(file)}`, but must be a file with the secret in it: {why}.")
    return secret


def _reason(error: OSError | UnicodeDecodeError) -> str:
    """Say why, quoting nothing of a file's content."""
    if isinstance(error, OSError):
        return (error.strerror or "it failed").lower()
    return "it is not text in UTF-8"
