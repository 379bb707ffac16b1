"""The key that an installation makes for itself, once, however many of its processes start together."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from easel.errors import SettingsError

KEY_LENGTH = 32
"""Characters a key has at least: 128 bits in hex."""


def kept_key(file: Path) -> bytes:
    """Return the key in `file`, made with mode 0600 if there is none; raise SettingsError where that can not be."""
    try:
        if not file.exists():
            _make(file)
        key = file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"EASEL_KEY is unset and {file} can not be made or read ({error.strerror}); set EASEL_KEY, "
            "or EASEL_DATA_DIR to a folder that can be written to."
        ) from error
    if len(key) < KEY_LENGTH:
        raise SettingsError(
            f"{file} does not hold a key of at least {KEY_LENGTH} characters; put it back, or delete it."
        )
    return key


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(draft, "w") as opened:
            opened.write(secrets.token_hex(32) + "\n")
            opened.flush()
            os.fsync(draft)
        # A link appears whole or not at all, and only for the first of several processes; the others read its key.
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        Path(name).unlink()
