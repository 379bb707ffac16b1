"""Whether the models that a request names are here and go together: told before anything is queued."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

from bot.asking.place import whole
from easel import words
from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadPrompt, BadValue, UnknownModel
from easel.jobs import ImageRequest
from easel.prompt.embeddings import Lexicon, Words, embedding_words, meant, named_embeddings
from easel.prompt.networks import extract_networks
from easel.prompt.text import quoted

ALTERNATIVES = 3

CHOOSING_TAG = re.compile(r"<\w+:[^<>]*(?:__|[{}])[^<>]*>")
"""A tag in which there is, or seems to be, a choice at random."""


def check_models(request: ImageRequest, catalog: Catalog, *, chosen: bool = True) -> None:
    """Raise UnknownModel or BadValue unless every model it names is here and fits every checkpoint it draws with.

    Tags in which a choice is still to be made, until it is `chosen`, are passed over.
    """
    if request.upscale is not None:
        return
    if not chosen:
        texts = {name: CHOOSING_TAG.sub("", getattr(request, name)) for name in ("prompt", "negative_prompt")}
        request = request.changed(**texts)
    worn = list(dict.fromkeys(_worn(request, catalog)))
    said = _embeddings(request, catalog)
    for checkpoint in _checkpoints(request, catalog):
        for card in (*worn, *(catalog.model(ModelKind.EMBEDDING, meant(cards, checkpoint).name) for cards in said)):
            if not card.fits(checkpoint):
                raise BadValue(_foreign(card, checkpoint, catalog))


def names_a_model(tag: str, catalog: Catalog) -> bool:
    """Tell whether a tag, as it stands, names a network that is here."""
    try:
        return any(catalog.model(ModelKind(one.kind), one.name) for one in extract_networks(tag)[1])
    except (BadPrompt, BadValue, UnknownModel):
        return False


def check_negative(request: ImageRequest) -> None:
    """Raise BadPrompt for networks in the negative prompt, where they do nothing; A1111 takes them for words."""
    if names := [tag.name for tag in extract_networks(CHOOSING_TAG.sub("", request.negative_prompt))[1]]:
        shown = ", ".join(quoted(name) for name in dict.fromkeys(names))
        raise BadPrompt(f"LoRAs and hypernetworks belong into the prompt, not into the negative one: {shown}.")


def check_repainting(request: ImageRequest, catalog: Catalog, *, holes: bool) -> None:
    """Raise BadValue where a checkpoint that only repaints is asked for anything else.

    `holes` says that the picture is, or may be, transparent somewhere.
    """
    repaints = request.init_image and (request.mask or request.canvas is not None or holes)
    if request.upscale is not None or repaints:
        return
    for checkpoint in _checkpoints(request, catalog):
        if checkpoint.in_channels == 9:
            others = [card for card in catalog.cards(ModelKind.CHECKPOINT) if card.in_channels != 9 and card.installed]
            same = sorted(others, key=lambda card: card.base is not checkpoint.base)
            instead = f", or another checkpoint: {_listed(same)}" if same else ""
            raise BadValue(f"The checkpoint `{checkpoint.name}` only repaints: it needs a picture and a mask{instead}.")


def _checkpoints(request: ImageRequest, catalog: Catalog) -> list[ModelCard]:
    names = [request.checkpoint]
    for axis in (request.plot.x, request.plot.y) if request.plot is not None else ():
        if axis is not None and axis.field == "checkpoint":
            names = list(axis.values)
    return [catalog.checkpoint(name) for name in names]


def _worn(request: ImageRequest, catalog: Catalog) -> Iterator[ModelCard]:
    for tag in request.networks:
        yield _here(ModelKind(tag.kind), tag.name, catalog)
    if request.vae:
        yield _here(ModelKind.VAE, request.vae, catalog)


def _embeddings(request: ImageRequest, catalog: Catalog) -> list[tuple[ModelCard, ...]]:
    """Return for each word that names embeddings which they are, also those that are kept from this place."""
    known, lexicon = _vocabulary(whole(catalog))
    found = [named_embeddings(text, lexicon) for text in (request.prompt, request.negative_prompt)] if known else []
    return [known[word] for word in dict.fromkeys(chain.from_iterable(found))]


@lru_cache(maxsize=2)
def _vocabulary(catalog: Catalog) -> tuple[Words, Lexicon]:
    known = embedding_words(catalog.cards(ModelKind.EMBEDDING))
    return known, Lexicon(known)


def _here(kind: ModelKind, name: str, catalog: Catalog) -> ModelCard:
    card = catalog.model(kind, name)
    if not card.installed:
        raise BadValue(f"The {kind.noun} `{card.name}` is in the list, but its file is not here.")
    return card


def _foreign(card: ModelCard, checkpoint: ModelCard, catalog: Catalog) -> str:
    """Return why they do not go together, and what would."""
    kind = card.kind
    reason = f"The {kind.noun} `{card.name}` was not made for checkpoints like `{checkpoint.name}`"
    if card.base is not None and checkpoint.base is not None and card.base is not checkpoint.base:
        made, used = words.base(card.base), words.base(checkpoint.base)
        reason = f"The {kind.noun} `{card.name}` was made for {made}, and the checkpoint `{checkpoint.name}` is {used}"
    near = chain(catalog.search(kind, card.name), catalog.cards(kind))
    fitting = [one for one in dict.fromkeys(near) if one.installed and one.fits(checkpoint)]
    if fitting:
        return f"{reason}. What fits: {_listed(fitting)}."
    homes = [one for one in catalog.cards(ModelKind.CHECKPOINT) if one.installed and card.fits(one)]
    return f"{reason}. It goes with the checkpoint {_listed(homes)}." if homes else f"{reason}."


def _listed(cards: list[ModelCard]) -> str:
    return " or ".join(f"`{card.name}`" for card in cards[:ALTERNATIVES])
