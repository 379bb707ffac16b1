"""What is said about the models, on a page of them and on a model's own."""

from collections.abc import Set

from easel import words
from easel.catalog import ModelCard, ModelKind

LIMIT = 1000
"""UTF-16 units: Telegram takes 1024 under a picture."""
_NAME, _LINE, _NOTES = 48, 92, 300

_WRITTEN = {
    ModelKind.CHECKPOINT: "--checkpoint {}",
    ModelKind.LORA: "<lora:{}:1>",
    ModelKind.HYPERNETWORK: "<hypernet:{}:1>",
    ModelKind.EMBEDDING: "{}",
    ModelKind.VAE: "--vae {}",
    ModelKind.CONTROLNET: "--control {}",
    ModelKind.UPSCALER: "--upscaler {}",
}
_WHERE = {ModelKind.EMBEDDING: ", in the prompt or the negative one", ModelKind.CONTROLNET: ", with a picture"}


def plural(kind: ModelKind | None, count: int = 2) -> str:
    noun = "model" if kind is None else kind.noun
    return noun if count == 1 else f"{noun}s"


def listed(cards: tuple[ModelCard, ...], head: str, warm: Set[str]) -> str:
    """Return the text of a page: two lines for each."""
    lines = [head]
    for n, card in enumerate(cards, start=1):
        facts = words.model_facts(card, warm=is_warm(card, warm))
        if card.trigger_words:
            facts += f" · {', '.join(card.trigger_words)}"
        lines += [words.cut(f"{n}. {_title(card)}", _NAME), words.cut(f"   {facts}", _LINE)]
    return words.cut("\n".join(lines), LIMIT)


def described(card: ModelCard, warm: Set[str]) -> str:
    """Return all that is known about one, what is needed first."""
    lines = [_title(card), words.model_facts(card, warm=is_warm(card, warm))]
    lines.append(f"Write it as {_WRITTEN[card.kind].format(card.name)}{_WHERE.get(card.kind, '')}")
    if card.trigger_words:
        lines.append(words.cut(f"Trigger words: {', '.join(card.trigger_words)}", _NOTES))
    if wanted := _wanted(card):
        lines.append(f"Drawn with: {wanted}")
    if card.aliases:
        lines.append(words.cut(f"Also called: {', '.join(card.aliases)}", _LINE))
    if card.source:
        lines.append(words.cut(f"From: {card.source}", 2 * _LINE))
    if card.notes:
        lines.append(words.cut(card.notes.strip(), _NOTES))
    return words.cut("\n".join(lines), LIMIT)


def is_warm(card: ModelCard, warm: Set[str]) -> bool:
    return card.kind is ModelKind.CHECKPOINT and card.name in warm


def _title(card: ModelCard) -> str:
    return card.name if card.label == card.name else f"{card.label} ({card.name})"


def _wanted(card: ModelCard) -> str:
    own = card.defaults
    parts = [
        " ".join(filter(None, (own.sampler, own.schedule))),
        f"{own.steps} steps" if own.steps else "",
        f"cfg {own.cfg_scale:g}" if own.cfg_scale else "",
        f"{own.width}×{own.height}" if own.width and own.height else "",
        f"clip skip {own.clip_skip}" if own.clip_skip else "",
        f"VAE {own.vae}" if own.vae else "",
    ]
    return ", ".join(filter(None, parts))
