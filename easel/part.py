"""The frame of every part of Easel that is a process of its own: its words, settings, log, Redis, and how it exits."""

import sys
from collections.abc import Callable

from easel.errors import ModelsFileError, SettingsError
from easel.job_queue.connect import redis_of
from easel.logs import configure_logging
from easel.parent import die_with_parent_if_told
from easel.settings import Settings, load_settings


def run_part(live: Callable[[Settings, str], None]) -> int:
    """Run `live` with the settings and Redis' address until it returns; return the exit status."""
    try:
        _take_words()
        settings = load_settings()
        configure_logging(settings, secrets=[settings.signing_key().decode()])
        with redis_of(settings) as url:
            live(settings, url)
    except (SettingsError, ModelsFileError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _take_words() -> None:
    if not die_with_parent_if_told() and sys.argv[1:]:
        # Without a word of it: it may well be a token, which every user of this machine can read there.
        raise SettingsError(
            "This command takes no words behind it. Tokens belong in the environment, in .env or in a file "
            "that a *_FILE variable names; one that was given here should be made anew."
        )
