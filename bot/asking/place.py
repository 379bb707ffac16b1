"""Where somebody asks, as far as that decides which models are there for them."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadValue, UnknownModel

KEPT = 8
"""Catalogs of places that are remembered; most installations need two."""


@dataclass(frozen=True, slots=True)
class Place:
    """One chat and one person in it; nothing said, it is nowhere in particular, and what is kept for some is not there."""

    network: str = ""
    chats: frozenset[str] = frozenset()
    """Ids of the chat and of all that it is part of: a thread's channel, a channel's guild."""
    roles: frozenset[str] = frozenset()
    nsfw: bool = False
    """Its network says that it is for adults."""
    own: bool = False
    """The command line of whoever runs Easel: nothing is kept from them."""

    def opened(self, nsfw_chats: Iterable[str]) -> Self:
        """Return it with what the settings say: `network:id` or `network:all` of chats in which anything may be drawn."""
        named = {f"{self.network}:{one}" for one in (*self.chats, "all")}
        return replace(self, nsfw=self.nsfw or not named.isdisjoint(nsfw_chats))

    def objection(self, card: ModelCard) -> str:
        """Return why a card is not for this place, as the end of a sentence; empty where it is."""
        if self.own:
            return ""
        if card.nsfw and not self.nsfw:
            return "is for age-restricted channels, and for chats that the owner lists in EASEL_NSFW_CHATS"
        if card.chats and self.chats.isdisjoint(card.chats):
            return "is kept for other chats"
        if card.roles and self.roles.isdisjoint(card.roles):
            return "is kept for people with a role that you do not have"
        return ""


NOWHERE = Place()
OWN = Place(own=True)


class Catalogs:
    """The part of the catalog that is there for a place, made anew only when the catalog changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._whole = Catalog()
        self._kept: tuple[ModelCard, ...] = ()
        self._parts: dict[frozenset[int], Catalog] = {}

    def of(self, whole: Catalog, place: Place) -> Catalog:
        with self._lock:
            if whole is not self._whole:
                self._kept = tuple(card for card in whole.all if card.nsfw or card.chats or card.roles)
                self._whole, self._parts = whole, {}
            hidden = frozenset(n for n, card in enumerate(self._kept) if place.objection(card))
            if not hidden:
                return whole
            if hidden not in self._parts:
                if len(self._parts) >= KEPT:
                    self._parts.pop(next(iter(self._parts)))
                self._parts[hidden] = _Part(whole, place)
            return self._parts[hidden]


class _Part(Catalog):
    """What is there for one place; what is kept from it is refused with the reason, if somebody knows its name."""

    def __init__(self, whole: Catalog, place: Place) -> None:
        super().__init__([card for card in whole.all if not place.objection(card)], default=whole.default)
        self.whole = whole
        self._place = place

    def model(self, kind: ModelKind, name: str) -> ModelCard:
        try:
            return super().model(kind, name)
        except UnknownModel as unknown:
            try:
                card = self.whole.model(kind, name)
            except UnknownModel:
                raise unknown from None
            raise BadValue(
                f"The {kind.noun} `{card.name}` {self._place.objection(card)}. Please take another one."
            ) from None


def whole(catalog: Catalog) -> Catalog:
    """Return the catalog with what is kept from the place too."""
    return catalog.whole if isinstance(catalog, _Part) else catalog
