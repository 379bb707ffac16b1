"""Interactions of the fake Discord: opened by a person, acknowledged once, then edited by token while it lives."""

import time
from typing import Any

from tests.fakes.discord_calls import Call
from tests.fakes.discord_interaction import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL_SUBMIT, Interaction
from tests.fakes.discord_limits import check_choices, check_modal
from tests.fakes.discord_messages import EPHEMERAL, LOADING, Draft, Message
from tests.fakes.discord_values import EVERYTHING, Channel, Json, Refusal, User, bad_form
from tests.fakes.discord_world import Posting, World

_REPLY, _DEFER, _DEFER_UPDATE, _UPDATE, _CHOICES, _MODAL = 4, 5, 6, 7, 8, 9
_ANSWERS = {
    COMMAND: {_REPLY, _DEFER, _MODAL},
    COMPONENT: {_REPLY, _DEFER, _DEFER_UPDATE, _UPDATE, _MODAL},
    AUTOCOMPLETE: {_CHOICES},
    MODAL_SUBMIT: {_REPLY, _DEFER, _DEFER_UPDATE, _UPDATE},
}
_USER_INSTALLED_FOLLOW_UPS = 5


class Desk:
    """Opens interactions and serves their callbacks and webhooks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_token: dict[str, Interaction] = {}
        self.all: list[Interaction] = []

    def open(self, kind: int, data: Json, user: User, channel: Channel) -> Interaction:
        """Prepare an interaction; `send` puts it on its way."""
        interaction = Interaction(self._world, kind, user, channel)
        self.all.append(interaction)
        self._by_token[interaction.token] = interaction
        place = channel.payload() | {"permissions": str(int(self._world.permissions_of(user)))}
        interaction.payload = {
            "id": str(interaction.id),
            "application_id": str(self._world.application_id),
            "type": kind,
            "token": interaction.token,
            "version": 1,
            "data": data,
            "channel_id": str(channel.id),
            "channel": place,
            "locale": "en-US",
            "app_permissions": str(int(EVERYTHING if channel.guild_id is None else self._world.bot_permissions)),
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": self._owners(user, channel),
            "context": 1 if channel.guild_id is None else 0,
            "attachment_size_limit": self._world.file_limit_bytes,
        }
        if channel.guild_id is None:
            return self._with(interaction, {"user": user.payload()})
        guild = {"id": str(channel.guild_id), "locale": "en-US", "features": []}
        member = self._world.member_payload(user, with_permissions=True)
        about = {"guild_id": str(channel.guild_id), "guild": guild, "guild_locale": "en-US", "member": member}
        return self._with(interaction, about)

    def send(self, interaction: Interaction) -> Interaction:
        if interaction.source is not None:
            interaction.payload["message"] = interaction.source.payload(self._world.shelf)
        interaction.sent_at = time.monotonic()
        self._world.emit("INTERACTION_CREATE", interaction.payload, 0)
        return interaction

    def close(self) -> None:
        for interaction in self.all:
            interaction.close()

    def callback(self, call: Call) -> tuple[int, Json | None]:
        interaction = self._by_token.get(call.params["interaction_token"])
        if interaction is None or str(interaction.id) != call.params["interaction_id"]:
            raise Refusal(404, 10062, "Unknown interaction")
        if interaction.response_type is not None:
            raise Refusal(400, 40060, "Interaction has already been acknowledged.")
        if interaction.age_s > self._world.ack_within_s:
            raise Refusal(404, 10062, "Unknown interaction")
        kind, data = call.json["type"], call.json.get("data") or {}
        may_update = interaction.source is not None or kind not in {_DEFER_UPDATE, _UPDATE}
        if kind not in _ANSWERS[interaction.kind] or not may_update:
            text = f"An interaction of type {interaction.kind} cannot be answered by type {kind}"
            raise bad_form("type", "INTERACTION_RESPONSE_TYPE_INVALID", text)
        self._answer(interaction, kind, Draft(data, call.files, interaction.channel.id, "interaction"))
        interaction.acknowledge(kind)
        return (200, self._told(interaction, kind)) if call.query.get("with_response") in {"1", "true"} else (204, None)

    def follow_up(self, call: Call) -> tuple[int, Json]:
        interaction = self._alive(call)
        ephemeral = bool((call.json.get("flags") or 0) & EPHEMERAL)
        original = interaction.original
        if original is not None and original.loading and not original.deleted:
            # Documented: the first follow-up after a deferral fills the waiting message and keeps its privacy.
            return 200, self._edited(original, call)
        self._check_allowance(interaction)
        draft = Draft(call.json, call.files, interaction.channel.id, "interaction", ephemeral)
        kind = 19 if original is not None else 0
        message = self._world.post(draft, self._posting(interaction, kind, ephemeral=ephemeral, reply_to=original))
        interaction.follow_ups.append(message)
        self._world.bell.ring()
        return 200, message.payload(self._world.shelf)

    def read(self, call: Call) -> tuple[int, Json]:
        return 200, self._meant(call).payload(self._world.shelf)

    def edit(self, call: Call) -> tuple[int, Json]:
        return 200, self._edited(self._meant(call), call)

    def delete(self, call: Call) -> tuple[int, None]:
        self._world.delete(self._meant(call))
        return 204, None

    def _answer(self, interaction: Interaction, kind: int, draft: Draft) -> None:
        if kind in {_REPLY, _DEFER}:
            asked = draft.body.get("flags") or 0
            ephemeral = bool(asked & EPHEMERAL)
            body = draft.body if kind == _REPLY else {"flags": (asked & EPHEMERAL) | LOADING}
            kind_of_message = 20 if interaction.kind == COMMAND else 19 if interaction.source else 0
            posting = self._posting(interaction, kind_of_message, ephemeral=ephemeral, reply_to=interaction.source)
            draft = Draft(body, draft.files, draft.channel_id, "interaction", ephemeral)
            interaction.original = self._world.post(draft, posting)
        elif kind == _UPDATE:
            interaction.original = interaction.source
            assert interaction.source is not None
            self._world.edit(interaction.source, draft)
        elif kind == _DEFER_UPDATE:
            interaction.original = interaction.source
        elif kind == _CHOICES:
            choices = draft.body.get("choices") or []
            check_choices(choices, interaction.option_type)
            interaction.choices = choices
        else:
            check_modal(draft.body)
            interaction.form = draft.body

    def _told(self, interaction: Interaction, kind: int) -> Json:
        about: Json = {"id": str(interaction.id), "type": interaction.kind}
        message = interaction.original
        if message is None:
            return {"interaction": about}
        about |= {
            "response_message_id": str(message.id),
            "response_message_loading": message.loading,
            "response_message_ephemeral": message.ephemeral,
        }
        if kind not in {_REPLY, _UPDATE}:
            return {"interaction": about}
        return {"interaction": about, "resource": {"type": kind, "message": message.payload(self._world.shelf)}}

    def _alive(self, call: Call) -> Interaction:
        """Return the interaction behind a webhook's token, if it has been acknowledged and is not too old."""
        if call.params["webhook_id"] != str(self._world.application_id):
            raise Refusal(404, 10015, "Unknown Webhook")
        interaction = self._by_token.get(call.params["webhook_token"])
        if interaction is None or interaction.expired or interaction.age_s > self._world.token_life_s:
            raise Refusal(401, 50027, "Invalid Webhook Token")
        if interaction.response_type is None:
            raise Refusal(404, 10015, "Unknown Webhook")
        return interaction

    def _meant(self, call: Call) -> Message:
        interaction = self._alive(call)
        wanted = call.params.get("message_id")
        reachable = [*interaction.messages, *([interaction.source] if interaction.source else [])]
        for message in reachable[:1] if wanted is None else reachable:
            if not message.deleted and wanted in {None, str(message.id)}:
                return message
        raise Refusal(404, 10008, "Unknown Message")

    def _edited(self, message: Message, call: Call) -> Json:
        draft = Draft(call.json, call.files, message.channel_id, "interaction", message.ephemeral)
        return self._world.edit(message, draft).payload(self._world.shelf)

    def _check_allowance(self, interaction: Interaction) -> None:
        if interaction.channel.hidden and len(interaction.follow_ups) >= _USER_INSTALLED_FOLLOW_UPS:
            text = "This interaction has reached the maximum number of follow up messages."
            raise Refusal(400, 40094, text)

    def _posting(self, interaction: Interaction, kind: int, *, ephemeral: bool, reply_to: Message | None) -> Posting:
        return Posting(
            author=self._world.bot,
            type=kind,
            application_id=self._world.application_id,
            interaction_id=interaction.id,
            interaction=self._metadata(interaction),
            reply_to=reply_to,
            visible_to=interaction.user.id if ephemeral else None,
        )

    def _metadata(self, interaction: Interaction) -> Json:
        about: Json = {
            "id": str(interaction.id),
            "type": interaction.kind,
            "user": interaction.user.payload(),
            "authorizing_integration_owners": self._owners(interaction.user, interaction.channel),
        }
        if interaction.kind == COMPONENT and interaction.source is not None:
            about["interacted_message_id"] = str(interaction.source.id)
        if interaction.kind == MODAL_SUBMIT and interaction.opened_by is not None:
            about["triggering_interaction_metadata"] = self._metadata(interaction.opened_by)
        if interaction.original is not None:
            about["original_response_message_id"] = str(interaction.original.id)
        return about

    def _owners(self, user: User, channel: Channel) -> Json:
        if channel.hidden:
            return {"1": str(user.id)}
        return {"0": str(channel.guild_id or 0)}

    def _with(self, interaction: Interaction, about: dict[str, Any]) -> Interaction:
        interaction.payload |= about
        return interaction
