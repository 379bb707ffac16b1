"""The things that go wrong on purpose, each with a stable code and a sentence for people.

EaselError
├── SettingsError          a setting is wrong; the process ends with exit code 2
├── ModelsFileError        models.yaml is wrong; names file, line and field
├── QueueDown              Redis can not be reached; nothing was queued
├── Untrusted              what stood in Redis was not signed by us
├── RequestError           the asker can mend it; `str(error)` is shown
│   ├── BadPrompt
│   ├── BadValue           a number or word outside its range
│   ├── UnknownModel       names the nearest ones
│   ├── UnknownSampler     names the nearest ones
│   ├── NotYours           somebody else's picture
│   └── Expired            a button whose job is no longer remembered, or that was tampered with
├── RenderError            the worker could not make the picture; `str(error)` is shown, the trace is logged
│   ├── OutOfMemory
│   ├── ModelUnusable
│   ├── BlackPicture       the picture came out as not-a-number, in full precision too
│   └── Cancelled
└── DeliveryError          the picture exists but could not be posted
    ├── TryLater           carries the seconds to wait
    └── Undeliverable      the chat is gone or closed to us; final
        └── PictureRefused the chat is open, but the network does not take this picture
"""

from collections.abc import Sequence
from typing import ClassVar


class EaselError(Exception):
    """The root: whatever Easel raises on purpose."""

    code: ClassVar[str] = "easel"


class SettingsError(EaselError):
    code = "settings"


class ModelsFileError(EaselError):
    code = "models_file"

    def __init__(self, file: str, line: int, field: str, problem: str) -> None:
        where = f"{file}, line {line}" + (f", {field}" if field else "")
        super().__init__(f"{where}: {problem}")
        self.line = line
        self.field = field


class QueueDown(EaselError):
    code = "queue_down"

    def __init__(self) -> None:
        super().__init__("The queue can not be reached right now. Nothing was started; please try again in a minute.")


class Untrusted(EaselError):
    code = "untrusted"


class RequestError(EaselError):
    code = "request"


class BadPrompt(RequestError):
    code = "bad_prompt"


class BadValue(RequestError):
    code = "bad_value"


class _Unknown(RequestError):
    """A name that is in no list; the sentence offers the nearest ones."""

    def __init__(self, noun: str, name: str, nearest: Sequence[str] = ()) -> None:
        offer = " or ".join(f"`{one}`" for one in nearest)
        hint = f"Did you mean {offer}?" if offer else f"There is no {noun} installed yet."
        super().__init__(f"There is no {noun} called `{name[:100]}`. {hint}")
        self.nearest = tuple(nearest)


class UnknownModel(_Unknown):
    code = "unknown_model"


class UnknownSampler(_Unknown):
    code = "unknown_sampler"


class NotYours(RequestError):
    code = "not_yours"


class Expired(RequestError):
    code = "expired"


class RenderError(EaselError):
    code = "render"


class OutOfMemory(RenderError):
    code = "out_of_memory"


class ModelUnusable(RenderError):
    code = "model_unusable"


class BlackPicture(RenderError):
    code = "black_picture"


class Cancelled(RenderError):
    code = "cancelled"


class DeliveryError(EaselError):
    code = "delivery"


class TryLater(DeliveryError):
    """The network asked to wait, or did not answer."""

    code = "try_later"

    def __init__(self, text: str, *, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class Undeliverable(DeliveryError):
    code = "undeliverable"


class PictureRefused(Undeliverable):
    code = "picture_refused"

    def __init__(self, network: str) -> None:
        super().__init__(f"{network} does not take a picture as large as this. Ask for fewer or smaller ones.")
