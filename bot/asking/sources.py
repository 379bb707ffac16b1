"""What requests draw on besides the catalog: styles, wildcards, hosts of pictures, chats in which anything goes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from easel.prompt.wildcards import Wildcards, WildcardSource
from easel.settings import Settings
from easel.styles import Styles, WatchedStyles


@dataclass(frozen=True, slots=True)
class Sources:
    styles: Callable[[], Styles]
    """Answers from memory, but for a look at the file every few seconds."""
    wildcards: WildcardSource
    private_hosts: frozenset[str]
    """Those of our own network from which pictures may be fetched all the same."""
    nsfw_chats: frozenset[str] = frozenset()
    """`network:id` or `network:all`: where models that are not safe for work may be used."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            WatchedStyles(settings.styles_file).current,
            Wildcards(settings.wildcards_dir),
            settings.private_hosts,
            settings.nsfw_chats,
        )
