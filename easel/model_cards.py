"""Joins what a file shows, what lies beside it and what the owner wrote into one card."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from easel.catalog import Base, ModelCard, ModelKind
from easel.hub_folders import repository
from easel.identify.file import PICKLES
from easel.model_facts import Facts
from easel.model_folders import SUFFIXES, Found
from easel.names import MAX_NAME

Known = tuple[Found, Facts]
Made = dict[tuple[str, str], tuple[Found, Facts, ModelCard]]
"""By name and path."""

_SIDES = {Base.SD15: 512, Base.SD2: 512, Base.SDXL: 1024}
_DISTILLED: dict[str, dict[str, Any]] = {
    "turbo": {"steps": 8, "cfg_scale": 2},
    "lightning": {"steps": 8, "cfg_scale": 2},
    "lcm": {"steps": 8, "cfg_scale": 1.5},
}
"""Made to be asked with few steps; with the usual number their pictures are burnt."""


_SHOWN = ("in_channels", "context_dim", "file_size", "path", "root")
"""What the owner can not know better than the weights, unless those are in a pickle that nobody looks into."""

_PICKLES = tuple(PICKLES)


class Joined:
    """The cards, and sentences about what did not fit."""

    def __init__(self, entries: Sequence[ModelCard], known: Sequence[Known], made: Made | None = None) -> None:
        """Join; `made` keeps cards from one time to the next, as most files stay as they are."""
        self._made = {} if made is None else made
        self.cards: list[ModelCard] = []
        self.problems: list[str] = []
        self._taken: set[tuple[ModelKind, str]] = set()
        described: set[tuple[int, str]] = set()
        # Where two have one path or name, the first models folder wins.
        by_path = {found.path: (found, facts) for found, facts in reversed(known)}
        by_name = {(facts.seen.kind, _plain_name(found.path)): (found, facts) for found, facts in reversed(known)}
        for entry in entries:
            match = by_path.get(entry.path) if entry.path else by_name.get((entry.kind, entry.name))
            if match is not None:
                described.add((match[0].root, match[0].path))
            self._add(self._described(entry, match))
        # A .safetensors keeps the plain name where an old pickle lies beside it.
        for found, facts in sorted(known, key=lambda one: one[0].path.lower().endswith(_PICKLES)):
            if (found.root, found.path) not in described:
                self._discover(found, facts)

    def _add(self, card: ModelCard) -> None:
        self.cards.append(card)
        self._taken.add((card.kind, card.name))

    def _described(self, entry: ModelCard, match: Known | None) -> ModelCard:
        where = f"models.yaml, `{entry.name}`"
        if match is None:
            place = f"`{entry.path}`" if entry.path else f"a file called `{entry.name}`"
            self.problems.append(f"{where}: {place} is not in the models folders.")
            return entry
        found, facts = match
        if facts.seen.problem:
            self.problems.append(f"{where}: `{found.path}` can not be used. {facts.seen.problem}")
            return entry
        said = entry.model_dump(exclude_unset=True)
        shown = shown_by(found, facts)
        for field in ("kind", "base") if not facts.seen.hinted else ("kind",):
            if shown.get(field) and said.get(field) and said[field] != shown[field]:
                self.problems.append(f"{where}: says {field} {said[field]}, but the file is {shown[field]}.")
                said[field] = shown[field]
        defaults = _defaults(shown | said, facts) | said.get("defaults", {})
        if facts.sha256 and said.get("sha256", facts.sha256) not in {"", facts.sha256}:
            problem = f"says sha256 {said['sha256'][:10]}…, but the file's is {facts.sha256[:10]}…"
            self.problems.append(f"{where}: {problem}; it is another version, or damaged.")
        said |= {field: shown[field] for field in ("sha256", "autov3") if getattr(facts, field)}
        told = ("file_size", "path", "root") if facts.seen.pickled else _SHOWN
        kept = {field: shown[field] for field in told}
        return ModelCard.model_validate(shown | said | kept | {"defaults": defaults})

    def _discover(self, found: Found, facts: Facts) -> None:
        seen = facts.seen
        if seen.problem or seen.kind is None:
            self.problems.append(f"{found.path} can not be used. {seen.problem}")
            return
        if seen.kind is not found.kind:
            self.problems.append(
                f"{found.path} lies in a folder for {found.kind.noun}, but is a {seen.kind.noun}; it is listed as that."
            )
        name = _plain_name(found.path)
        if (seen.kind, name) in self._taken:
            name = next(name for name in _names(found.path) if (seen.kind, name) not in self._taken)
        before, of, card = self._made.get((name, found.path), (None, None, None))
        if card is not None and of is facts and before == found:
            self._add(card)
            return
        shown = shown_by(found, facts)
        try:
            card = ModelCard.model_validate(shown | {"name": name, "defaults": _defaults(shown, facts)})
            self._made[name, found.path] = found, facts, card
            self._add(card)
        except ValidationError as error:
            self.problems.append(f"{found.path!a} can not be used under this name. {error.errors()[0]['msg']}.")


def shown_by(found: Found, facts: Facts) -> dict[str, Any]:
    """Return a card's fields but its name, as the file and its sidecars tell them."""
    seen, beside = facts.seen, facts.beside
    return {
        "kind": seen.kind,
        "path": found.path,
        "root": str(found.root) if found.root >= 0 else "",
        "base": (beside.base or seen.base) if seen.hinted or seen.base is None else seen.base,
        "family": beside.family or seen.family,
        "prediction_type": seen.prediction_type,
        "zero_snr": seen.zero_snr,
        "in_channels": seen.in_channels,
        "context_dim": seen.context_dim,
        "title": beside.title or seen.title,
        "trigger_words": beside.trigger_words or seen.trigger_words,
        "nsfw": beside.nsfw,
        "source": beside.source,
        "sha256": facts.sha256 or beside.sha256,
        "autov3": facts.autov3,
        "file_size": found.size,
        "notes": beside.notes,
        "preview": f"{found.path.rpartition('/')[0]}/{found.preview}" if found.preview else "",
    }


def _defaults(card: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """Return what a checkpoint of this base and family wants where nobody says otherwise."""
    if card["kind"] is not ModelKind.CHECKPOINT:
        return {}
    side = facts.seen.native_side or _SIDES.get(card["base"], 0)
    # Of SD 2, the ones of 768 pixels predict velocity.
    if card["base"] is Base.SD2 and card["prediction_type"] == "v_prediction":
        side = facts.seen.native_side or 768
    size = {"width": side, "height": side} if side else {}
    return size | _DISTILLED.get(card["family"], {})


@lru_cache(2**16)
def _plain_name(path: str) -> str:
    return next(_names(path))


def _names(path: str) -> Iterator[str]:
    """Yield names for a file, the plain one first, without end."""
    if "/snapshots/" in path:
        path = repository(PurePosixPath(path)).as_posix()
    # Texts are cut ten times as fast as paths, and this is done for every file.
    folder, _, name = path.rpartition("/")
    plain, dot, suffix = name.rpartition(".")
    suffix = (dot + suffix).lower()
    # A folder has no suffix to lose, though its name may hold a dot.
    weights = suffix in SUFFIXES
    stem = (plain if weights else name).strip()[: MAX_NAME - 50]
    yield stem
    if weights and suffix != ".safetensors":
        yield f"{stem}-{suffix[1:]}"
    yield f"{stem}-{folder.rpartition('/')[2]}"[:MAX_NAME]
    for number in count(2):
        yield f"{stem}-{number}"
