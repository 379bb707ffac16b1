"""Button ids: `v1:verb:job:n:mac`, at most 40 bytes, good on every network and after any restart."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Literal, get_args

from easel.errors import Expired

Verb = Literal["again", "vary", "upscale", "delete", "draw", "cancel", "models"]
VERBS: tuple[Verb, ...] = get_args(Verb)
LABELS: dict[Verb, str] = {"again": "🔄 Again", "vary": "🎲 Vary", "upscale": "🔍 Upscale", "delete": "🗑️ Delete"}
"""What stands under a finished picture, the last one under a failure too."""
INITIALS: dict[Verb, str] = {"upscale": "U", "vary": "V"}
"""What stands with a number under several pictures."""
PER_ROW = 5
"""Of Discord."""
PATTERN = r"v1:[a-z]{1,8}:[A-Za-z0-9_-]{4,40}:[0-9]{1,2}:[0-9a-f]{8}"


@dataclass(frozen=True, slots=True)
class Button:
    verb: Verb
    job_id: str
    n: int = 0
    """Which picture of the job, from 0."""


def rows(pictures: int) -> list[list[tuple[str, Verb, int]]]:
    """Return (label, verb, picture) of the buttons under a message with so many pictures, at most 10, row by row."""
    if pictures <= 1:
        return [[(label, verb, 0) for verb, label in LABELS.items()]]
    numbered = [
        [(f"{initial}{n + 1}", verb, n) for n in range(start, min(start + PER_ROW, pictures))]
        for verb, initial in INITIALS.items()
        for start in range(0, pictures, PER_ROW)
    ]
    return [*numbered, [(label, verb, 0) for verb, label in LABELS.items() if verb not in INITIALS]]


def _mac(text: str, key: bytes) -> str:
    return hmac.new(key, b"button." + text.encode(), hashlib.sha256).hexdigest()[:8]


def button_id(button: Button, key: bytes) -> str:
    text = f"v1:{button.verb}:{button.job_id}:{button.n}"
    return f"{text}:{_mac(text, key)}"


def read_button(text: str, key: bytes) -> Button:
    """Return what the button asks for; raise `Expired` for an id that we did not sign."""
    if re.fullmatch(PATTERN, text):
        signed, _, mac = text.rpartition(":")
        _, verb, job_id, n = signed.split(":")
        if verb in VERBS and hmac.compare_digest(mac, _mac(signed, key)):
            return Button(verb, job_id, int(n))
    raise Expired("This button is not valid any more. Please ask for the picture again.")
