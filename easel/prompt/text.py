"""Prompt text as it may enter: valid Unicode, no NUL, of bounded length."""

from easel.errors import BadPrompt

MAX_LENGTH = 6000
"""Characters; as many as a Discord option can carry."""


def clean(text: str) -> str:
    """Return `text` with surrogate pairs joined, and lone surrogates and NUL replaced by U+FFFD; raises BadPrompt if too long."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return bounded(whole.replace("\0", "\ufffd"))


def bounded(text: str) -> str:
    """Return `text` unchanged; raises BadPrompt if it is longer than MAX_LENGTH."""
    if len(text) > MAX_LENGTH:
        raise BadPrompt(f"The prompt has {len(text)} characters; at most {MAX_LENGTH} fit. Please shorten it.")
    return text


def quoted(text: str) -> str:
    """Return `text` between backticks, none left inside, cut to a length that fits a sentence."""
    plain = text.replace("`", "'")
    return f"`{plain[:100]}…`" if len(plain) > 100 else f"`{plain}`"
