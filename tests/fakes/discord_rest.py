"""The routes of the fake Discord: which request does what."""

from collections.abc import Callable
from typing import Any, TypeAlias

from tests.fakes.discord_calls import Call
from tests.fakes.discord_interactions import Desk
from tests.fakes.discord_limits import check_files
from tests.fakes.discord_messages import Draft, Message
from tests.fakes.discord_values import DM, Channel, Json, Permission, Refusal, bad_form
from tests.fakes.discord_world import Posting, World

Answer: TypeAlias = tuple[int, Any]
_NONCE_LENGTH = 25


class Routes:
    """`table` maps method and path template to what answers it."""

    def __init__(self, world: World, desk: Desk, gateway_url: Callable[[], str]) -> None:
        self._world = world
        self._gateway_url = gateway_url
        commands, one = "/applications/{application_id}/commands", "/{command_id}"
        own = "/applications/{application_id}/guilds/{guild_id}/commands"
        webhook, channel = "/webhooks/{webhook_id}/{webhook_token}", "/channels/{channel_id}"
        self.table: dict[tuple[str, str], Callable[[Call], Answer]] = {
            ("GET", "/gateway"): self._gateway,
            ("GET", "/gateway/bot"): self._gateway,
            ("GET", "/users/@me"): lambda _: (200, self._me()),
            ("GET", "/users/{user_id}"): self._user,
            ("POST", "/users/@me/channels"): self._open_dm,
            ("GET", "/oauth2/applications/@me"): lambda _: (200, self._application()),
            ("GET", "/applications/@me"): lambda _: (200, self._application()),
            ("GET", "/applications/{application_id}"): lambda _: (200, self._application()),
            ("GET", "/guilds/{guild_id}/members/{user_id}"): self._member,
            ("POST", "/interactions/{interaction_id}/{interaction_token}/callback"): self._with_files(desk.callback),
            ("POST", webhook): self._with_files(desk.follow_up),
            ("GET", f"{channel}"): lambda call: (200, self._channel(call).payload()),
            ("GET", f"{channel}/messages"): self._list_messages,
            ("POST", f"{channel}/messages"): self._with_files(self._create_message),
            ("GET", f"{channel}/messages/{{message_id}}"): lambda call: (200, self._shown(self._message(call))),
            ("PATCH", f"{channel}/messages/{{message_id}}"): self._with_files(self._edit_message),
            ("DELETE", f"{channel}/messages/{{message_id}}"): self._delete_message,
            ("POST", f"{channel}/typing"): self._type,
        }
        for message in ("/messages/@original", "/messages/{message_id}"):
            self.table["GET", webhook + message] = desk.read
            self.table["PATCH", webhook + message] = self._with_files(desk.edit)
            self.table["DELETE", webhook + message] = desk.delete
        for path in (commands, own):
            self.table["GET", path] = lambda call: (200, world.commands.all(_scope(call)))
            self.table["PUT", path] = lambda call: (200, world.commands.replace(_scope(call), call.json))
            self.table["POST", path] = lambda call: world.commands.add(_scope(call), call.json)
            self.table["GET", path + one] = lambda call: (200, world.commands.get(_scope(call), _command(call)))
            self.table["PATCH", path + one] = self._change_command
            self.table["DELETE", path + one] = self._remove_command

    def needs_token(self, template: str) -> bool:
        return not template.startswith(("/webhooks/", "/interactions/")) and template != "/gateway"

    def _with_files(self, handler: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        def checked(call: Call) -> Answer:
            check_files(call.files.values(), call.size_bytes, self._world.file_limit_bytes)
            if not isinstance(call.json, dict):
                raise Refusal(400, 50109, "The request body contains invalid JSON.")
            return handler(call)

        return checked

    def _gateway(self, call: Call) -> Answer:
        about: Json = {"url": self._gateway_url()}
        if call.template.endswith("/bot"):
            limit = {"total": 1000, "remaining": 999, "reset_after": 86_400_000, "max_concurrency": 1}
            about |= {"shards": 1, "session_start_limit": limit}
        return 200, about

    def _me(self) -> Json:
        private = {"mfa_enabled": False, "locale": "en-US", "verified": True, "email": None, "premium_type": 0}
        return self._world.bot.payload() | private

    def _application(self) -> Json:
        return {
            "id": str(self._world.application_id),
            "name": self._world.bot.name,
            "icon": None,
            "description": "",
            "type": None,
            "bot": self._world.bot.payload(),
            "bot_public": False,
            "bot_require_code_grant": False,
            "owner": self._world.owner.payload(),
            "team": None,
            "verify_key": "0" * 64,
            "flags": 0,
            "flags_new": "0",
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "approximate_guild_count": 1,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "explicit_content_filter": 0,
            "eligible_oauth2_scopes": [],
        }

    def _user(self, call: Call) -> Answer:
        person = self._world.users.get(int(call.params["user_id"]))
        if person is None:
            raise Refusal(404, 10013, "Unknown User")
        return 200, person.payload()

    def _member(self, call: Call) -> Answer:
        person = self._world.users.get(int(call.params["user_id"]))
        if person is None or int(call.params["guild_id"]) != self._world.guild_id:
            raise Refusal(404, 10007, "Unknown Member")
        return 200, self._world.member_payload(person)

    def _open_dm(self, call: Call) -> Answer:
        return 200, self._world.dm(int(call.json["recipient_id"])).payload()

    def _channel(self, call: Call, *, posting: bool = False) -> Channel:
        channel = self._world.channel(int(call.params["channel_id"]))
        if posting and channel.type == DM and channel.forbidden:
            raise Refusal(403, 50007, "Cannot send messages to this user")
        return self._world.channel(channel.id, posting=posting)

    def _message(self, call: Call) -> Message:
        """Return a message of the channel; an ephemeral one is not there for the bot's token."""
        message = self._world.message(int(call.params["message_id"]), self._channel(call).id)
        if message.ephemeral:
            raise Refusal(404, 10008, "Unknown Message")
        return message

    def _shown(self, message: Message) -> Json:
        return message.payload(self._world.shelf)

    def _list_messages(self, call: Call) -> Answer:
        channel, most = self._channel(call), int(call.query.get("limit", "50"))
        found = [m for m in self._world.messages.values() if m.channel_id == channel.id and not m.deleted]
        newest = [self._shown(message) for message in reversed(found) if not message.ephemeral]
        return 200, newest[:most]

    def _create_message(self, call: Call) -> Answer:
        channel, nonce = self._channel(call, posting=True), call.json.get("nonce")
        if isinstance(nonce, str) and len(nonce) > _NONCE_LENGTH:
            raise bad_form("nonce", "NONCE_TYPE_TOO_LONG", f"Must be {_NONCE_LENGTH} or fewer in length.")
        if nonce is not None and call.json.get("enforce_nonce"):
            for message in self._world.messages.values():
                if message.nonce == nonce and message.channel_id == channel.id and message.author == self._world.bot:
                    return 200, self._shown(message)
        original = self._replied_to(call, channel)
        author = frozenset({str(original.author.id)} if original and _pings_author(call.json) else ())
        posting = Posting(
            author=self._world.bot,
            type=19 if original else 0,
            reply_to=original,
            nonce=nonce,
            extra_pings=author,
        )
        return 200, self._shown(self._world.post(Draft(call.json, call.files, channel.id, "bot"), posting))

    def _replied_to(self, call: Call, channel: Channel) -> Message | None:
        reference = call.json.get("message_reference")
        if not reference:
            return None
        message = self._world.messages.get(int(reference["message_id"]))
        if message is not None and message.channel_id == channel.id and not message.deleted and not message.ephemeral:
            return message
        if reference.get("fail_if_not_exists", True):
            raise bad_form("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
        return None

    def _edit_message(self, call: Call) -> Answer:
        self._channel(call, posting=True)
        message = self._message(call)
        if message.author != self._world.bot:
            raise Refusal(403, 50005, "Cannot edit a message authored by another user")
        return 200, self._shown(self._world.edit(message, Draft(call.json, call.files, message.channel_id, "bot")))

    def _delete_message(self, call: Call) -> Answer:
        message = self._message(call)
        if message.author != self._world.bot and not self._world.bot_permissions & Permission.MANAGE_MESSAGES:
            raise Refusal(403, 50013, "Missing Permissions")
        self._world.delete(message)
        return 204, None

    def _type(self, call: Call) -> Answer:
        self._channel(call, posting=True)
        return 204, None

    def _change_command(self, call: Call) -> Answer:
        return 200, self._world.commands.change(_scope(call), _command(call), call.json)

    def _remove_command(self, call: Call) -> Answer:
        self._world.commands.remove(_scope(call), _command(call))
        return 204, None


def _scope(call: Call) -> int | None:
    return int(call.params["guild_id"]) if "guild_id" in call.params else None


def _command(call: Call) -> str:
    return call.params["command_id"]


def _pings_author(body: Json) -> bool:
    allowed = body.get("allowed_mentions")
    return True if allowed is None else bool(allowed.get("replied_user"))
