"""What somebody wishes for: the requests that one form makes, and the pictures that come with them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from bot.asking.cost import check_cost
from bot.asking.draft import draft
from bot.asking.fitting import CHOOSING_TAG, check_models, names_a_model
from bot.asking.pictures import PICTURES, Opened
from bot.asking.place import NOWHERE, Place
from bot.asking.told import parted
from easel.catalog import Catalog
from easel.errors import BadPrompt, BadValue, UnknownModel
from easel.jobs import ImageRequest
from easel.names import Names
from easel.prompt.expand import expand_random
from easel.prompt.permute import count_permutations, permutations
from easel.prompt.styles import apply_style
from easel.prompt.wildcards import WildcardSource
from easel.styles import Styles

MOST = 10
"""Requests that one form may make."""

Form = Mapping[str, object]

_ASIDE = "\ufdd0{}\ufdd1"
"""Two of the code points that Unicode keeps free for a program's own use."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Requests in which choices at random are still to be made, and whose pictures stand under the options' names."""

    requests: tuple[ImageRequest, ...]
    pictures: Mapping[str, bytes]
    """PNG files by the name under which the requests know them."""
    notes: tuple[str, ...] = ()
    """What the asker should know."""
    verbatim: bool = False
    place: Place = NOWHERE
    """Where it was made, and with the models of which it is carried out."""

    @property
    def several(self) -> bool:
        return len(self.requests) > 1


def make_wish(form: Form, catalog: Catalog, styles: Styles) -> Wish:
    """Check a form, from memory; raises RequestError. Pictures that are not opened yet may be anything."""
    forms = [last for one in _permuted(form) for last in _styled(one, styles)]
    if len(forms) > MOST:
        raise BadPrompt(f"The braces make {len(forms)} prompts; at most {MOST} are made at once.")
    drafts = [draft(one, catalog) for one in forms]
    requests = tuple(one.request for one in drafts)
    check_cost(requests)
    notes = dict.fromkeys(note for one in drafts for note in one.notes)
    used = {name for request in requests for name in pictures_of(request)}
    return Wish(requests, _pictures(form, used), tuple(notes), verbatim=drafts[0].verbatim)


def resolved(wish: Wish, wildcards: WildcardSource, catalog: Catalog) -> Wish:
    """Make every choice at random with the request's own seed; reads wildcard files; raises RequestError."""
    if wish.verbatim:
        return wish
    chosen = []
    for request in wish.requests:
        made = request.changed(
            prompt=_expanded(request.prompt, request.seed, wildcards, catalog),
            negative_prompt=_expanded(request.negative_prompt, request.seed, wildcards, catalog),
        )
        check_models(made, catalog)
        chosen.append(made)
    return replace(wish, requests=tuple(chosen))


def _expanded(text: str, seed: int, wildcards: WildcardSource, catalog: Catalog) -> str:
    """Return the text with every choice made, but for what looks like one in the name of a network that is here."""
    whole: list[str] = []

    def aside(match: re.Match[str]) -> str:
        if not names_a_model(match[0], catalog):
            return match[0]
        whole.append(match[0])
        return _ASIDE.format(len(whole) - 1)

    chosen = expand_random(CHOOSING_TAG.sub(aside, text), seed, wildcards)
    for n, tag in enumerate(whole):
        chosen = chosen.replace(_ASIDE.format(n), tag)
    return chosen


def pictures_of(request: ImageRequest) -> set[str]:
    """Return the names of the pictures that a request starts from."""
    control = request.control.image if request.control is not None else ""
    return {request.init_image, request.mask, control} - {""}


def renamed(request: ImageRequest, names: Mapping[str, str]) -> ImageRequest:
    """Return the request with its pictures under other names; those that are not in `names` keep theirs."""
    changes: dict[str, Any] = {field: names.get(getattr(request, field)) for field in ("init_image", "mask")}
    if request.control is not None and request.control.image in names:
        changes["control"] = request.control.changed(image=names[request.control.image]).model_dump()
    return request.changed(**{field: value for field, value in changes.items() if value is not None})


def _permuted(form: Form) -> list[dict[str, object]]:
    """Return a form for each way to resolve the braces of all its words, the leftmost changing slowest."""
    words = {name: value for name, value in form.items() if isinstance(value, str) and name not in PICTURES}
    if any(parted(text) for text in words.values()):
        return [dict(form)]
    count = prod(map(count_permutations, words.values()))
    if count == 1:
        return [dict(form)]
    if count > MOST:
        said = count if count <= 10**6 else "more than a million"
        raise BadPrompt(f"The braces make {said} prompts; at most {MOST} are made at once. Please list fewer options.")
    choices = product(*(permutations(text, MOST) for text in words.values()))
    return [{**form, **dict(zip(words, chosen, strict=True))} for chosen in choices]


def _styled(form: Form, styles: Styles) -> list[dict[str, object]]:
    """Return the form with its style put into its words, one for each way to resolve the style's braces.

    Raises UnknownModel.
    """
    plain = {name: value for name, value in form.items() if name != "style"}
    name = str(form.get("style") or "").strip()
    if not name:
        return [plain]
    known = list(styles)
    names = Names([[one] for one in known])
    index = names.find(name)
    if index is None:
        raise UnknownModel("style", name, [known[one] for one in names.nearest(name)])
    style = styles[known[index]]
    prompt, negative = str(form.get("prompt") or ""), str(form.get("negative") or "")
    if parted(prompt):
        raise BadValue("A pasted text says everything; please leave `style` out.")
    plain["prompt"] = apply_style(prompt, style.prompt) if style.prompt else prompt
    if style.negative_prompt:
        plain["negative"] = apply_style(negative, style.negative_prompt)
    return _permuted(plain)


def _pictures(form: Form, used: set[str]) -> dict[str, bytes]:
    """Return the opened pictures that the requests use, by the option that brought them."""
    opened = {name: form.get(name) for name in used}
    return {name: picture.png for name, picture in opened.items() if isinstance(picture, Opened)}
