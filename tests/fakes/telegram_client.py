"""Clients of the fake Telegram for tests: a real Application, raw JSON posts, small pictures."""

import io
from typing import Any

import aiohttp
from PIL import Image
from telegram.ext import Application, ApplicationBuilder

from tests.fakes.telegram_server import FakeTelegram

Bot = Application[Any, Any, Any, Any, Any, Any]


def png(width: int = 64, height: int = 48) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(written, "PNG")
    return written.getvalue()


async def post(telegram: FakeTelegram, method: str, **fields: Any) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.post(telegram.url(method), json=fields) as answer:
        found: dict[str, Any] = await answer.json()
        assert found["ok"] == answer.ok
        return found


async def place(telegram: FakeTelegram, text: str = "queued", **fields: Any) -> dict[str, Any]:
    answer = await post(telegram, "sendMessage", chat_id=telegram.private.id, text=text, **fields)
    return {"chat_id": telegram.private.id, "message_id": answer["result"]["message_id"]}


def application(telegram: FakeTelegram) -> Bot:
    return (
        ApplicationBuilder().token(telegram.token).base_url(telegram.api_base).base_file_url(telegram.file_base).build()
    )
