"""All that the fake Discord knows: people, channels, messages, commands, files, and the guild they live in."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.discord_commands import Commands
from tests.fakes.discord_files import Shelf
from tests.fakes.discord_limits import check_mentions, check_state
from tests.fakes.discord_messages import Draft, Message, MessageState, pings
from tests.fakes.discord_values import (
    DM,
    EVERYTHING,
    MEMBER,
    THREAD,
    Bell,
    Channel,
    Json,
    Permission,
    Refusal,
    Snowflakes,
    User,
    iso,
)

_EMPTY_LISTS = (
    "emojis",
    "stickers",
    "features",
    "presences",
    "voice_states",
    "stage_instances",
    "guild_scheduled_events",
    "soundboard_sounds",
)
GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 9, 1 << 12


@dataclass(frozen=True, slots=True)
class Posting:
    """What is known about a new message besides what stands in it."""

    author: User
    type: int = 0
    application_id: int | None = None
    interaction_id: int | None = None
    interaction: Json | None = None
    reply_to: Message | None = None
    nonce: str | int | None = None
    visible_to: int | None = None
    extra_pings: frozenset[str] = frozenset()


class World:
    """One guild with the bot in it, one without, and people in both."""

    def __init__(self) -> None:
        self.ids = Snowflakes()
        self.bell = Bell()
        self.token_life_s = 900.0
        self.ack_within_s = 3.0
        self.lateness_s = 0.0
        """How much older than now new interactions are, as if they had been on the way that long."""
        self.file_limit_bytes = 10 * 1024 * 1024
        self.refuse_resume = False
        self.heartbeat_interval_s = 41.25
        self.privileged_intents = 0
        """Privileged intents that are switched on for the application."""
        self.enforce_rates = False
        self.application_id = self.ids.new()
        self.token = f"{secrets.token_urlsafe(18)}.{secrets.token_urlsafe(4)}.{secrets.token_urlsafe(27)}"
        self.bot = User(self.application_id, "easel", bot=True)
        self.users: dict[int, User] = {self.bot.id: self.bot}
        self.alice, self.bob, self.owner = self.user(None, "alice"), self.user(None, "bob"), self.user(None, "owner")
        self.permissions: dict[int, Permission] = {self.owner.id: EVERYTHING}
        self.roles: dict[int, list[int]] = {}
        """Ids of the roles that a person has besides that of everyone."""
        self.bot_permissions = MEMBER
        self.channels: dict[int, Channel] = {}
        self.guild_id, self.other_guild_id = self.ids.new(), self.ids.new()
        self.general = self.add_channel("general")
        self.restricted = self.add_channel("restricted", nsfw=True)
        self.thread = self.add_channel("a-thread", parent=self.general)
        self.restricted_thread = self.add_channel("a-restricted-thread", parent=self.restricted)
        self.elsewhere = self.add_channel("elsewhere", guild_id=self.other_guild_id)
        """A channel of a guild without the bot: only people who installed it for themselves use it there."""
        self.shelf = Shelf(self.ids)
        self.commands = Commands(self.ids, self.application_id)
        self.messages: dict[int, Message] = {}
        self.violations: list[str] = []
        self.emit: Callable[[str, Json, int], None] = lambda _event, _data, _intent: None

    def user(self, user_id: int | None = None, name: str = "") -> User:
        """Return the person with this id, who is made up if nobody has it; None makes up somebody new."""
        number = self.ids.new() if user_id is None else user_id
        return self.users.setdefault(number, User(number, name or f"user{number}"))

    def add_channel(
        self, name: str, *, nsfw: bool = False, parent: Channel | None = None, guild_id: int | None = None
    ) -> Channel:
        kind, parent_id = (THREAD, parent.id) if parent else (0, None)
        place = guild_id or self.guild_id
        channel = Channel(self.ids.new(), name, kind, guild_id=place, nsfw=nsfw, parent_id=parent_id)
        channel.hidden = place != self.guild_id
        self.channels[channel.id] = channel
        return channel

    def dm(self, user_id: int | None = None) -> Channel:
        """Return the conversation of the bot with this person (by default: alice)."""
        person = self.user(self.alice.id if user_id is None else user_id)
        for channel in self.channels.values():
            if channel.type == DM and channel.recipient == person:
                return channel
        channel = Channel(self.ids.new(), person.name, DM, recipient=person)
        self.channels[channel.id] = channel
        return channel

    def channel(self, channel_id: int, *, posting: bool = False) -> Channel:
        """Return a channel the bot may use, or refuse as Discord does."""
        channel = self.channels.get(channel_id)
        if channel is None:
            raise Refusal(404, 10003, "Unknown Channel")
        if channel.hidden:
            raise Refusal(403, 50001, "Missing Access")
        if posting and channel.forbidden:
            raise Refusal(403, 50013, "Missing Permissions")
        return channel

    def delete_channel(self, channel: Channel) -> None:
        """A moderator deletes the channel."""
        payload = channel.payload()
        del self.channels[channel.id]
        self.emit("THREAD_DELETE" if channel.type == THREAD else "CHANNEL_DELETE", payload, 0)
        self.bell.ring()

    def is_age_restricted(self, channel: Channel) -> bool:
        parent = self.channels.get(channel.parent_id) if channel.parent_id else None
        return channel.nsfw or (parent is not None and parent.nsfw)

    def permissions_of(self, user: User) -> Permission:
        return self.permissions.get(user.id, MEMBER)

    def message(self, message_id: int, channel_id: int | None = None) -> Message:
        message = self.messages.get(message_id)
        if message is None or message.deleted or (channel_id is not None and message.channel_id != channel_id):
            raise Refusal(404, 10008, "Unknown Message")
        return message

    def post(self, draft: Draft, posting: Posting) -> Message:
        allowed = draft.body.get("allowed_mentions")
        check_mentions(allowed)
        state = draft.state(self.shelf, None, self.violations)
        check_state(state)
        heard = pings(state.pinging_text, allowed)
        message = Message(
            id=self.ids.new(),
            channel_id=draft.channel_id,
            author=posting.author,
            history=[state],
            type=posting.type,
            application_id=posting.application_id,
            interaction_id=posting.interaction_id,
            interaction=posting.interaction,
            reply_to=posting.reply_to,
            nonce=posting.nonce,
            visible_to=posting.visible_to,
            mentions=self._mentioned(heard),
            pings=heard | posting.extra_pings,
        )
        self.messages[message.id] = message
        self._tell("MESSAGE_CREATE", message, message.payload(self.shelf))
        return message

    def edit(self, message: Message, draft: Draft) -> Message:
        allowed = draft.body.get("allowed_mentions")
        check_mentions(allowed)
        state: MessageState = draft.state(self.shelf, message.state, self.violations)
        check_state(state)
        message.edit(state)
        message.mentions = self._mentioned(pings(state.pinging_text, allowed))  # an edit notifies nobody
        self._tell("MESSAGE_UPDATE", message, message.payload(self.shelf))
        return message

    def delete(self, message: Message) -> None:
        message.deleted = True
        self._tell("MESSAGE_DELETE", message, {"id": str(message.id), "channel_id": str(message.channel_id)})

    def _mentioned(self, heard: frozenset[str]) -> tuple[User, ...]:
        return tuple(user for number, user in self.users.items() if str(number) in heard)

    def _tell(self, event: str, message: Message, payload: Json) -> None:
        """The gateway speaks of public messages only, to those who asked for them; waiting tests hear of all."""
        channel = self.channels[message.channel_id]
        if not message.ephemeral and not channel.hidden:
            intent = DIRECT_MESSAGES if channel.guild_id is None else GUILD_MESSAGES
            guild = {} if channel.guild_id is None else {"guild_id": str(channel.guild_id)}
            self.emit(event, payload | guild, intent)
        self.bell.ring()

    def member_payload(self, user: User, *, with_permissions: bool = False) -> Json:
        shape: Json = {
            "user": user.payload(),
            "nick": None,
            "avatar": None,
            "roles": [str(role) for role in self.roles.get(user.id, ())],
            "joined_at": iso(time.time() - 86_400),
            "premium_since": None,
            "communication_disabled_until": None,
            "deaf": False,
            "mute": False,
            "flags": 0,
            "pending": False,
        }
        return shape | ({"permissions": str(int(self.permissions_of(user)))} if with_permissions else {})

    def guild_payload(self) -> Json:
        everyone = {
            "id": str(self.guild_id),
            "name": "@everyone",
            "permissions": str(int(self.bot_permissions)),
            "position": 0,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }
        mine = [channel for channel in self.channels.values() if channel.guild_id == self.guild_id]
        given = {role for roles in self.roles.values() for role in roles}
        people = [self.bot, self.owner, self.alice, self.bob]
        empty: dict[str, list[Any]] = {name: [] for name in _EMPTY_LISTS}
        return empty | {
            "id": str(self.guild_id),
            "name": "The studio",
            "owner_id": str(self.owner.id),
            "preferred_locale": "en-US",
            "roles": [everyone, *(everyone | {"id": str(one), "name": "r"} for one in given)],
            "members": [self.member_payload(person) for person in people],
            "member_count": len(people),
            "channels": [channel.payload() for channel in mine if channel.type != THREAD],
            "threads": [channel.payload() for channel in mine if channel.type == THREAD],
            "large": False,
            "unavailable": False,
            "joined_at": iso(time.time() - 86_400),
            "afk_timeout": 300,
            "premium_tier": 0,
            "nsfw_level": 0,
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "system_channel_flags": 0,
            "icon": None,
            "splash": None,
            "description": None,
        }
