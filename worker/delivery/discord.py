"""Writes a job's message on Discord: by the bot token, and by the interaction token where the bot has no access."""

import json
import time
from importlib.metadata import version
from typing import Any

from easel import words
from easel.errors import PictureRefused, Undeliverable
from easel.job_queue.queue import JobState
from easel.jobs import DiscordAddress
from worker.delivery.api import Answer, Api, Upload
from worker.delivery.message import Message

API = "https://discord.com/api/v10"
TOKEN_LIFE_S = 14 * 60
"""Discord forgets an interaction after 15 minutes; leave one for the upload."""
TOO_LARGE = 413
CONTENT = 2000
PROMPT = 700
PREVIEW = "preview.jpg"


def discord_headers(token: str) -> dict[str, str]:
    """Return what every call carries; Discord turns away a User-Agent of another form."""
    return {"Authorization": f"Bot {token}", "User-Agent": f"DiscordBot (https://easel.invalid, {version('easel')})"}


class DiscordWriter:
    """Edits the message that the gateway deferred; posts a new one only when that is gone."""

    words_first = False  # a nonce makes a repeated post harmless

    def __init__(self, api: Api, *, base: str = API) -> None:
        self._api = api
        self._base = base.rstrip("/")

    async def write(self, state: JobState, message: Message) -> str:
        address = state.job.reply_to
        assert isinstance(address, DiscordAddress)
        if any(len(picture) > address.file_limit for picture in message.pictures):
            raise PictureRefused("Discord")
        payload = self._payload(state, message)
        answer = None
        for method, url in self._roads(address, state.message_id):
            answer = await self._send(method, url, payload, message)
            if answer.ok:
                return str(answer.body.get("id", state.message_id))
            if message.pictures and answer.status == TOO_LARGE:
                raise PictureRefused("Discord")
        if answer is not None and not message.pictures and not message.prompt:
            raise Undeliverable(f"Discord refused an edit ({_why(answer)})")
        return await self._post(address, state, payload, message)

    def _roads(self, address: DiscordAddress, message_id: str) -> list[tuple[str, str]]:
        """Return the ways to edit the message, the best first."""
        by_bot = ("PATCH", f"{self._base}/channels/{address.channel_id}/messages/{message_id}")
        hook = f"{self._base}/webhooks/{address.application_id}/{address.interaction_token}"
        by_token = ("PATCH", f"{hook}/messages/@original")
        young = time.time() - address.created_at < TOKEN_LIFE_S
        roads = [by_bot] if message_id and address.bot_in_channel else []
        return [*roads, by_token] if young else roads

    async def _post(self, address: DiscordAddress, state: JobState, payload: dict[str, Any], message: Message) -> str:
        """Say it in a new message; the nonce makes Discord answer a repeated post with the first one."""
        if not address.bot_in_channel:
            raise Undeliverable("the interaction is over and the bot has no access to the channel")
        posted = payload | {"nonce": state.job.id[:25], "enforce_nonce": True}
        posted["content"] = words.cut(f"<@{state.job.asker.id}> {payload['content']}", CONTENT)
        posted["allowed_mentions"] = {"parse": [], "users": [state.job.asker.id]}
        answer = await self._send("POST", f"{self._base}/channels/{address.channel_id}/messages", posted, message)
        if not answer.ok:
            raise Undeliverable(f"Discord refused the message ({_why(answer)})")
        return str(answer.body.get("id", ""))

    async def _send(self, method: str, url: str, payload: dict[str, Any], message: Message) -> Answer:
        uploads = [Upload(f"files[{n}]", f"picture-{n + 1}.png", picture) for n, picture in enumerate(message.pictures)]
        if message.preview:
            uploads = [Upload("files[0]", PREVIEW, message.preview, "image/jpeg")]
        return await self._api.call(method, url, form={"payload_json": json.dumps(payload)}, uploads=uploads)

    def _payload(self, state: JobState, message: Message) -> dict[str, Any]:
        lines = [words.for_discord(line) for line in (words.cut(message.prompt, PROMPT), message.text) if line]
        if message.prompt:
            lines[0] = f"**{lines[0]}** · <@{state.job.asker.id}>"
        rows = [
            [{"type": 2, "style": 2, "label": label, "custom_id": custom_id} for label, custom_id in row]
            for row in message.buttons
        ]
        return {
            "content": words.cut("\n".join(lines), CONTENT),
            "allowed_mentions": {"parse": []},
            "components": [{"type": 1, "components": row} for row in rows],
            "attachments": [
                {"id": n, "filename": f"picture-{n + 1}.png", "description": words.cut(message.prompt, 1024)}
                for n in range(len(message.pictures))
            ]
            or [{"id": 0, "filename": PREVIEW}][: bool(message.preview)],
        }

    async def call_asker(self, state: JobState, message_id: str) -> None:
        address = state.job.reply_to
        assert isinstance(address, DiscordAddress)
        if not address.bot_in_channel or address.guild_id is None:
            return
        await self._api.call(
            "POST",
            f"{self._base}/channels/{address.channel_id}/messages",
            {
                "content": f"<@{state.job.asker.id}> your picture is ready.",
                "allowed_mentions": {"parse": [], "users": [state.job.asker.id]},
                "message_reference": {"message_id": message_id, "fail_if_not_exists": False},
                "nonce": f"{state.job.id[:23]}.m",
                "enforce_nonce": True,
            },
        )


def _why(answer: Answer | None) -> str:
    if answer is None:
        return "the interaction is over"
    return f"{answer.status}, code {answer.body.get('code', 0)}"
