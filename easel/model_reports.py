"""What one machine tells another about a model file: the facts of its header, never a place outside the models folders."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from easel.catalog import ModelCard, ModelKind, inner_path
from easel.jobs import Frozen
from easel.model_cards import Known, shown_by
from easel.model_facts import Facts
from easel.model_folders import Found


def _makes_a_card(facts: Facts) -> Facts:
    """Refuse facts that no card could hold; raises ValueError."""
    card = {"name": "x", "kind": ModelKind.LORA} | {
        field: value
        for field, value in shown_by(Found(-1, "", ModelKind.LORA, 0, ()), facts).items()
        if field not in {"kind", "path"}
    }
    ModelCard.model_validate(card)
    if len(facts.seen.problem) > 1000 or len(facts.seen.trigger_words) + len(facts.beside.trigger_words) > 100:
        raise ValueError("too many words")
    return facts


class Reported(Frozen):
    """One file of a machine."""

    path: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(inner_path)]
    kind: ModelKind
    """What its place says."""
    size: Annotated[int, Field(ge=0, lt=2**50)]
    facts: Annotated[Facts, AfterValidator(_makes_a_card)]

    @property
    def known(self) -> Known:
        return Found(-1, self.path, self.kind, self.size, ()), self.facts


def report_of(known: Sequence[Known]) -> list[dict[str, Any]]:
    """Return what a machine says of its usable files, as plain JSON in a stable order."""
    return [
        {
            "path": found.path,
            "kind": found.kind.value,
            "size": found.size,
            "facts": facts.model_dump(mode="json", exclude_defaults=True),
        }
        for found, facts in known
        if not facts.seen.problem
    ]


def has_file(card: ModelCard, files: "FilesOf") -> bool:
    """Tell whether a machine with `files` has the file of `card`."""
    return files.sizes.get(card.path) == card.file_size or bool(card.sha256 and card.sha256 in files.hashes)


class FilesOf:
    """The files of one machine, ready to be asked."""

    def __init__(self, known: Sequence[Known]) -> None:
        self.known = tuple(known)
        usable = [(found, facts) for found, facts in known if not facts.seen.problem]
        self.sizes = {found.path: found.size for found, _ in reversed(usable)}
        self.roots = {found.path: found.root for found, _ in reversed(usable)}
        self.hashes = {sha256: found for found, facts in reversed(usable) if (sha256 := facts.sha256)}


def together(own: Sequence[Known], others: Sequence[Sequence[Known]]) -> list[Known]:
    """Return each file once, though several machines have it: ours first, then in the order of the machines."""
    everything = list(own)
    paths = {(found.path, found.size) for found, _ in own}
    hashes = {facts.sha256 for _, facts in own} - {""}
    for known in others:
        for found, facts in known:
            if (found.path, found.size) not in paths and facts.sha256 not in hashes:
                everything.append((found, facts))
                paths.add((found.path, found.size))
                hashes |= {facts.sha256} - {""}
    return everything
