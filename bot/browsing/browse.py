"""The pages of `/models`, and the buttons between them, which are good after any restart."""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace

from bot.asking.place import NOWHERE, Place
from bot.browsing.previews import Previews
from bot.browsing.sheet import nothing, sheet
from bot.browsing.texts import described, is_warm, listed, plural
from bot.options import MODELS
from easel.buttons import Button, button_id
from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadValue, Expired, Untrusted
from easel.job_queue.envelope import seal, unseal
from easel.job_queue.queue import JobQueue, told
from easel.jobs import Frozen
from easel.names import folded

PAGE, PER_ROW = 6, 3
KINDS_PER_ROW = 4
REMEMBER_S = 30 * 24 * 3600
MOST_PAGES = 16**3
LONGEST = 100
"""Characters of what is searched for."""

_EVERYTHING = "_" * 6
_KINDS: tuple[ModelKind | None, ...] = (None, *ModelKind)
_FILTER, _TURN, _PICK = range(3)
"""In the last part of a button's id, so that no two under a message are alike."""


class _Searched(Frozen):
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at: some of the models, from some page on, or one of them."""

    kind: ModelKind | None = None
    text: str = ""
    page: int = 0
    card: str = ""
    """The mark of the one that was picked."""


@dataclass(frozen=True, slots=True)
class Page:
    text: str
    """Plain, short enough for every network's text under a picture."""
    buttons: tuple[tuple[tuple[str, str], ...], ...]
    """Rows of (label, id)."""
    cards: tuple[ModelCard, ...]
    """Those that are shown."""
    one: bool = False
    """It is the page of a single model."""


class Browsing:
    def __init__(
        self,
        queue: JobQueue,
        catalog_for: Callable[[Place], Catalog],
        warm: Callable[[], Set[str]],
        previews: Previews,
    ) -> None:
        self._queue = queue
        self._catalog_for = catalog_for
        self._warm = warm
        self._previews = previews

    def open(self, form: Mapping[str, object], place: Place = NOWHERE) -> Page:
        """Return the first page of what a form asks for; raises BadValue, QueueDown."""
        text, kind = (str(form.get(option.name) or "").strip() for option in MODELS)
        view = View(_kind(kind), text[:LONGEST])
        if view.text:
            with told():
                self._queue.connection.set(
                    _key(_mark(view.text)),
                    seal(_key(_mark(view.text)), _Searched(text=view.text), self._queue.key),
                    ex=REMEMBER_S,
                )
        found = _found(view, self._catalog_for(place), self._warm())
        named = [card for card in found if card.name == view.text]
        return self._page(replace(view, card=_mark_of(named[0])) if len(named) == 1 else view, place)

    def press(self, button: Button, place: Place = NOWHERE) -> Page:
        """Return the page that a button leads to; raises Expired, Untrusted, QueueDown."""
        return self._page(self._view(button.job_id), place)

    async def picture(self, page: Page) -> bytes:
        """Return the JPEG that goes with a page."""
        small = await asyncio.gather(*(self._previews.small(card) for card in page.cards))
        if page.one:
            (own,) = small
            return own if own is not None else await asyncio.to_thread(nothing, page.cards[0].kind.noun)
        return await asyncio.to_thread(sheet, small)

    def _page(self, view: View, place: Place) -> Page:
        catalog, warm = self._catalog_for(place), self._warm()
        found = _found(view, catalog, warm)
        pages = max(1, -(-len(found) // PAGE))
        view = replace(view, page=min(view.page, pages - 1))
        shown = tuple(found[view.page * PAGE : (view.page + 1) * PAGE])
        if view.card:
            # Of two with one mark, which chance allows, the one on the page was meant.
            card = next((one for one in (*shown, *catalog.all) if _mark_of(one) == view.card), None)
            if card is None:
                raise Expired("This model is not here any more. Please send the command again.")
            back = ("◀ Back", self._id(replace(view, card=""), _TURN))
            return Page(described(card, warm), ((back,),), (card,), one=True)
        head = f"{len(found)} {plural(view.kind, len(found))}"
        head += f" for `{view.text[:60]}`" if view.text else ""
        head += f", page {view.page + 1} of {pages}" if pages > 1 else ""
        buttons = (*self._picks(view, shown), *self._turns(view, pages), *self._filters(view, catalog))
        return Page(listed(shown, head, warm), buttons, shown)

    def _picks(self, view: View, shown: tuple[ModelCard, ...]) -> list[tuple[tuple[str, str], ...]]:
        picks = [(str(n), self._id(replace(view, card=_mark_of(card)), _PICK)) for n, card in enumerate(shown, start=1)]
        return _in_rows(picks, PER_ROW)

    def _turns(self, view: View, pages: int) -> list[tuple[tuple[str, str], ...]]:
        steps = [("◀", view.page - 1), ("▶", view.page + 1)]
        turns = [
            (label, self._id(replace(view, page=page), _TURN))
            for label, page in steps
            if 0 <= page < min(pages, MOST_PAGES)
        ]
        return _in_rows(turns, PER_ROW)

    def _filters(self, view: View, catalog: Catalog) -> list[tuple[tuple[str, str], ...]]:
        kinds = [kind for kind in _KINDS if kind is not view.kind and (kind is None or catalog.cards(kind))]
        # All of one kind are all there are.
        if len(kinds) < 2 and view.kind is None:
            return []
        labels = [("All" if kind is None else plural(kind), self._id(View(kind, view.text), _FILTER)) for kind in kinds]
        return _in_rows([(label[:1].upper() + label[1:], one) for label, one in labels], KINDS_PER_ROW)

    def _id(self, view: View, part: int) -> str:
        where = f"{_KINDS.index(view.kind)}{_mark(view.text) if view.text else _EVERYTHING}{view.page:03x}{view.card}"
        return button_id(Button("models", where, part), self._queue.key)

    def _view(self, where: str) -> View:
        """Read what `_id` wrote; raises Expired where it is none of ours, or what was searched for is forgotten."""
        try:
            kind, mark, page, card = _KINDS[int(where[0])], where[1:7], int(where[7:10], 16), where[10:]
        except (ValueError, IndexError):
            raise Expired("This button is not valid any more. Please send the command again.") from None
        return View(kind, "" if mark == _EVERYTHING else self._searched(mark), page, card)

    def _searched(self, mark: str) -> str:
        with told():
            kept = self._queue.connection.getex(_key(mark), ex=REMEMBER_S)
        if not isinstance(kept, bytes):
            raise Expired("I no longer remember what was searched for. Please send the command again.")
        text = unseal(_key(mark), kept, _Searched, self._queue.key).text
        if _mark(text) != mark:
            raise Untrusted("A search in Redis stands under another one's name.")
        return text


def _found(view: View, catalog: Catalog, warm: Set[str]) -> list[ModelCard]:
    """Return the models that hold every word in a name or a trigger word, else those that are called alike."""
    kinds = [view.kind] if view.kind is not None else list(ModelKind)
    wanted = folded(view.text).split()
    found = [card for kind in kinds for card in catalog.cards(kind) if _holds(card, wanted)]
    if not found and wanted:
        found = [card for kind in kinds for card in catalog.search(kind, view.text, limit=PAGE)]
    return sorted(found, key=lambda card: (kinds.index(card.kind), not is_warm(card, warm)))


def _holds(card: ModelCard, wanted: list[str]) -> bool:
    if not wanted:
        return True
    said = folded(" ".join((card.name, card.title)))
    others = "\n".join(folded(word) for word in (*card.aliases, *card.trigger_words))
    return all(word in said or word in others for word in wanted)


def _kind(typed: str) -> ModelKind | None:
    """Read a kind as people say it; raises BadValue."""
    word = typed.lower().replace(" ", "")
    for kind in ModelKind:
        if word in {kind.value, f"{kind.value}s"}:
            return kind
    if word in {"", "all", "model", "models"}:
        return None
    raise BadValue(f"There is no kind of model called `{typed[:40]}`. There are: {', '.join(ModelKind)}.")


def _mark(text: str) -> str:
    """Return six signs that stand for a text."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())[:6].decode()


def _mark_of(card: ModelCard) -> str:
    return _mark(f"{card.kind.value}/{card.name}")


def _key(mark: str) -> str:
    return f"easel:search:{mark}"


def _in_rows(buttons: list[tuple[str, str]], most: int) -> list[tuple[tuple[str, str], ...]]:
    return [tuple(buttons[n : n + most]) for n in range(0, len(buttons), most)]
