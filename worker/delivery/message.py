"""What a job's message says at one moment, before a network's own form is given to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from easel.job_queue.queue import JobState


@dataclass(frozen=True, slots=True)
class Message:
    """Text, pictures and buttons; text is plain and not yet cut or escaped."""

    prompt: str = ""
    """Shown with the finished picture; empty while it is not."""
    text: str = ""
    pictures: Sequence[bytes] = ()
    """PNG files."""
    buttons: Sequence[Sequence[tuple[str, str]]] = ()
    """(label, id), row by row; at most five rows of five."""
    preview: bytes = b""
    """A small JPEG of what the pictures are about to be, shown while there are none."""


class Writer(Protocol):
    """One network's way of writing a job's message."""

    words_first: bool
    """A picture is never posted, only edited into a message whose id is known: a post that is repeated shows twice."""

    async def write(self, state: JobState, message: Message) -> str:
        """Make the job's message say `message`, whatever it said before; return its id.

        Raise `TryLater`, or `Undeliverable` when the chat is gone. Writing the same twice shows it once.
        """
        ...

    async def call_asker(self, state: JobState, message_id: str) -> None:
        """Notify the asker once after a long wait: edits notify nobody."""
        ...
