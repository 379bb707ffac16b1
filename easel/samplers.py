"""Samplers and schedules under the names people know from A1111, what may be combined, and what each costs."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from easel.errors import BadValue, UnknownSampler

AUTOMATIC = "Automatic"

_SPACINGS = ("SGM Uniform", "Uniform", "Normal", "Simple", "DDIM")
_SIGMAS = ("Karras", "Exponential", "Beta")
_ALL = (*_SIGMAS, *_SPACINGS)
# These walk from t to t - 1000/n on their own account, so evenly spaced steps from the top are all that fits them.
_EVEN = ("SGM Uniform", "Simple", "DDIM")
# Distilled models were taught one fixed walk, which is the evenly spaced one.
_TAUGHT = ("SGM Uniform",)

SCHEDULES: tuple[str, ...] = (AUTOMATIC, *_ALL)
"""How the noise falls from step to step (A1111's "Schedule type")."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A row of the table."""

    name: str
    schedules: tuple[str, ...] = _ALL
    """What it can follow besides `Automatic`."""
    automatic: str = AUTOMATIC
    """The schedule that A1111 gives it when none is chosen; `Automatic` is the checkpoint's own."""
    second_order: bool = False
    """It asks the UNet twice for every step but the last."""
    aliases: tuple[str, ...] = ()
    """Names that are not merely another spelling."""


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        row.name: row
        for row in (
            Sampler("Euler a"),
            Sampler("Euler"),
            Sampler("DPM++ 2M", automatic="Karras", aliases=("dpmsolver++", "dpmsolver multistep")),
            Sampler("DPM++ SDE", automatic="Karras", second_order=True),
            Sampler("DPM++ 2M SDE", automatic="Exponential"),
            Sampler("DPM++ 2M SDE Heun", automatic="Exponential"),
            Sampler("DPM++ 3M SDE", automatic="Exponential"),
            Sampler("DPM++ 2S a", automatic="Karras", second_order=True),
            Sampler("DPM2", automatic="Karras", second_order=True),
            Sampler("DPM2 a", automatic="Karras", second_order=True),
            Sampler("Heun", second_order=True),
            Sampler("LMS"),
            Sampler("DDIM", _EVEN),
            Sampler("PLMS", _EVEN, aliases=("pndm",)),
            Sampler("UniPC", aliases=("uni pc bh2",)),
            Sampler("LCM", _TAUGHT),
            Sampler("TCD", _TAUGHT),
            Sampler("DEIS"),
            Sampler("DDPM", _EVEN),
        )
    }
)


def calls(sampler: str, steps: int) -> int:
    """Return how often one picture asks the UNet."""
    if SAMPLERS[sampler].second_order:
        return 2 * steps - 1
    # PLMS has no history at its first step and takes it twice.
    return steps + 1 if sampler == "PLMS" and steps > 1 else steps


def parse_sampler(text: str) -> tuple[str, str | None]:
    """Read a sampler's name, or the old joined name as in `DPM++ 2M Karras`; the schedule is None where none is named."""
    key = _key(text)
    if name := _SAMPLER_KEYS.get(key):
        return name, None
    for tail, schedule in _SCHEDULE_KEYS.items():
        if key.endswith(tail) and (name := _SAMPLER_KEYS.get(key.removesuffix(tail))):
            return name, schedule
    raise UnknownSampler("sampler", text, _nearest(key, _SAMPLER_KEYS) or tuple(SAMPLERS)[:3])


def parse_schedule(text: str) -> str:
    if schedule := _SCHEDULE_KEYS.get(_key(text)):
        return schedule
    raise UnknownSampler("schedule", text, _nearest(_key(text), _SCHEDULE_KEYS) or SCHEDULES[:3])


def check_pair(sampler: str, schedule: str) -> None:
    """Raise `BadValue` where the sampler can not follow the schedule."""
    possible = (AUTOMATIC, *_row(sampler).schedules)
    if schedule not in possible:
        offer = ", ".join(f"`{one}`" for one in possible)
        raise BadValue(
            f"The sampler `{sampler}` can not follow the schedule `{schedule[:100]}`. It can follow: {offer}."
        )


def resolve(sampler: str, schedule: str) -> str:
    """Return the schedule that is meant, checked; `Automatic` remains where that is the checkpoint's own."""
    check_pair(sampler, schedule)
    return SAMPLERS[sampler].automatic if schedule == AUTOMATIC else schedule


def _row(sampler: str) -> Sampler:
    if sampler not in SAMPLERS:
        raise UnknownSampler("sampler", sampler, _nearest(_key(sampler), _SAMPLER_KEYS) or tuple(SAMPLERS)[:3])
    return SAMPLERS[sampler]


def _key(text: str) -> str:
    """Fold the spellings of A1111, its API (`k_dpmpp_2s_a`), ComfyUI and diffusers into one."""
    key = re.sub(r"[\s_\-.]+", " ", text[:100].casefold()).strip()
    key = key.removeprefix("k ").removesuffix(" gpu").replace("ancestral", "a").replace("dpmpp", "dpm++")
    return key.replace(" ", "")


def _nearest(key: str, known: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(known[one] for one in difflib.get_close_matches(key, known, n=3, cutoff=0.5)))


_SAMPLER_KEYS: Mapping[str, str] = {
    _key(spelling): row.name for row in SAMPLERS.values() for spelling in (row.name, *row.aliases)
}
# Longest first: `SGM Uniform` ends in `Uniform` too.
_SCHEDULE_KEYS: Mapping[str, str] = {_key(name): name for name in sorted(SCHEDULES, key=len, reverse=True)}
