"""The sentences that people read about a job, alike on every network and at the command line."""

from easel.catalog import Base, ModelCard
from easel.jobs import ImageRequest, ImageResult, Progress

BAR = 12

_BASES = {Base.SD15: "SD 1.5", Base.SD2: "SD 2", Base.SDXL: "SDXL"}


def queued(place: int, workers: int) -> str:
    """Say where in line a job is; `place` counts those before it."""
    if workers == 0:
        return "Queued. No worker is running yet; the picture is drawn as soon as one is."
    if place == 0:
        return "Queued: next in line."
    return f"Queued: {place} before you."


def drawing(progress: Progress | None) -> str:
    if progress is None or progress.total == 0:
        return "Drawing: loading the model…"
    done = round(BAR * progress.step / progress.total)
    return f"Drawing: {'▰' * done}{'▱' * (BAR - done)} step {progress.step} of {progress.total}"


def settings(request: ImageRequest) -> str:
    """Return one line with what makes the picture come out the same again."""
    schedule = "" if request.schedule == "Automatic" else f" {request.schedule}"
    parts = [
        f"seed {request.seed}",
        f"{request.steps} steps",
        f"cfg {request.cfg_scale:g}",
        f"{request.sampler}{schedule}",
        f"{request.width}×{request.height}",
        request.checkpoint,
    ]
    if request.clip_skip != 1:
        parts.append(f"clip skip {request.clip_skip}")
    return " · ".join(parts)


def finished(result: ImageResult) -> str:
    """Return settings, rendering time and notes, without the prompt."""
    lines = [f"{settings(result.request)} · {result.seconds:.1f} s", *result.notes]
    return "\n".join(lines)


def base(one: Base) -> str:
    """Return what people call it."""
    return _BASES[one]


def size(count: int) -> str:
    """Return a number of bytes as people read it: `144 MB`, `6.5 GB`."""
    for unit, share in (("GB", 1e9), ("MB", 1e6)):
        if count >= share:
            return f"{count / share:.1f} {unit}" if count < 10 * share else f"{count / share:.0f} {unit}"
    return f"{count / 1e3:.0f} kB"


def model_facts(card: ModelCard, *, warm: bool = False) -> str:
    """Return one line: kind, base, family, size, and what is to know of it."""
    facts = [card.kind.noun]
    if card.base is not None:
        facts.append(base(card.base))
    if card.family:
        facts.append(card.family)
    if card.in_channels == 9:
        facts.append("inpainting")
    if card.prediction_type == "v_prediction":
        facts.append("v-prediction")
    if card.file_size:
        facts.append(size(card.file_size))
    if not card.installed:
        facts.append("its file is missing")
    if card.nsfw:
        facts.append("nsfw")
    if warm:
        facts.append("warm")
    return " · ".join(facts)


def cut(text: str, limit: int) -> str:
    """Shorten to `limit` UTF-16 units, as both networks count, without splitting a character."""
    units = text.encode("utf-16-le", "replace")
    if len(units) <= 2 * limit:
        return text
    return units[: 2 * (limit - 1)].decode("utf-16-le", "ignore").rstrip("\u200d\ufe0f") + "…"


_MARKUP = frozenset("\\*_~`|>#[]()<-")
_DIRECTION = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def for_discord(text: str) -> str:
    r"""Escape what Discord would read as markup, so that a prompt is shown literally: `*` becomes `\*`."""
    plain = text.translate(_DIRECTION)
    return "".join(f"\\{char}" if char in _MARKUP else char for char in plain)
