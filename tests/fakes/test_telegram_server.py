"""The fake Telegram, driven by a real python-telegram-bot Application and by raw HTTP."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputMediaPhoto, Update
from telegram.constants import ParseMode
from telegram.error import ChatMigrated, Forbidden, NetworkError, RetryAfter
from telegram.ext import CallbackQueryHandler, CommandHandler, ContextTypes

from tests.fakes.telegram_client import Bot, application, place, png, post
from tests.fakes.telegram_fields import Upload
from tests.fakes.telegram_server import FakeTelegram


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as telegram:
        yield telegram


@pytest.fixture
async def bot(telegram: FakeTelegram) -> AsyncIterator[Bot]:
    """A polling bot that paints a picture for /imagine and answers its button."""

    async def imagine(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        assert update.effective_message
        placed = await update.effective_message.reply_text(f"queued: {' '.join(context.args or [])}")
        await placed.edit_text("<b>3/8</b> steps", parse_mode=ParseMode.HTML)
        keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Again", callback_data="v1:again:7:0:mac")]])
        await placed.edit_media(InputMediaPhoto(png(), caption="a cat"), reply_markup=keyboard)

    async def again(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        assert update.callback_query
        await update.callback_query.answer("Painting it again.")

    app = application(telegram)
    app.add_handler(CommandHandler("imagine", imagine))
    app.add_handler(CallbackQueryHandler(again))
    async with app:
        assert app.updater
        await app.start()
        await app.updater.start_polling(poll_interval=0)
        yield app
        await app.updater.stop()
        await app.stop()


async def test_a_real_bot_answers_a_command_with_a_picture_and_a_button(telegram: FakeTelegram, bot: Bot) -> None:
    asked = await telegram.send("/imagine a cat", chat=telegram.forum, thread=77)
    picture = await telegram.wait_for(lambda: next((m for m in telegram.forum.from_bot if m.photo), None))
    query = await telegram.click(picture, "Again", telegram.bob)
    await telegram.wait_for(lambda: query.answered)

    assert [state.words for state in picture.history] == ["queued: a cat", "3/8 steps", "a cat"]
    assert picture.history[1].entities == ({"type": "bold", "offset": 0, "length": 3},)
    assert (picture.photo, picture.thread, picture.labels) == (png(), 77, ["Again"])
    assert (query.data, query.answer_text) == ("v1:again:7:0:mac", "Painting it again.")
    assert asked.as_json()["reply_to_message"]["forum_topic_created"]["name"] == "Cats"
    assert telegram.violations == []
    assert telegram.token not in repr(telegram.requests)
    assert bot.bot.username == telegram.username


async def test_the_bot_reads_a_persons_photo_and_file_back(telegram: FakeTelegram, bot: Bot) -> None:
    photo = await telegram.send("/imagine x", photo=png(2000, 1000))
    document = await telegram.send("", document=Upload("a b.png", png(), "image/png"))

    served = await bot.bot.get_file(photo.state.as_json()["photo"][-1]["file_id"])
    whole = await bot.bot.get_file(document.state.as_json()["document"]["file_id"])

    assert Image.open(io.BytesIO(await served.download_as_bytearray())).size == (1280, 640)
    assert bytes(await whole.download_as_bytearray()) == png()


async def test_a_raw_multipart_edit_turns_text_into_a_photo(telegram: FakeTelegram) -> None:
    there = await place(telegram)
    form = aiohttp.FormData({name: str(value) for name, value in there.items()})
    form.add_field(
        "media",
        json.dumps({"type": "photo", "media": "attach://picture", "caption": "<i>a cat</i>", "parse_mode": "HTML"}),
    )
    form.add_field("picture", png(), filename="cat.png", content_type="image/png")

    async with aiohttp.ClientSession() as session, session.post(telegram.url("editMessageMedia"), data=form) as answer:
        assert answer.status == 200

    (message,) = telegram.private.messages
    assert (message.photo, message.caption, message.file_name) == (png(), "a cat", None)
    assert telegram.calls("editMessageMedia")[0].files == {"picture": "cat.png"}
    assert telegram.violations == []


async def test_trouble_comes_as_ordered(telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without it the client warns that retry_after will be a timedelta, and the warning hides the error.
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    app = application(telegram)
    telegram.fail_next("sendMessage", 429, parameters={"retry_after": 7})
    telegram.fail_next("sendMessage", 403)
    telegram.fail_next("sendMessage", 400, "Bad Request: upgraded", parameters={"migrate_to_chat_id": -1005})
    telegram.fail_next("sendMessage", 502, html=True)
    telegram.lose_next("sendMessage", worked=False)
    telegram.lose_next("sendMessage")
    expected = [RetryAfter, Forbidden, ChatMigrated, NetworkError, NetworkError, NetworkError]

    async with app.bot:
        for trouble in expected:
            with pytest.raises(trouble):
                await app.bot.send_message(telegram.private.id, "hello")

    assert [one.status for one in telegram.calls("sendMessage")] == [429, 403, 400, 502, 0, 0]
    assert [message.text for message in telegram.private.messages] == ["hello"]


async def test_a_flooded_chat_says_how_long_to_wait(telegram: FakeTelegram) -> None:
    telegram.limit(telegram.private, messages=1, seconds=60)
    there = await place(telegram)

    refused = await post(telegram, "editMessageText", **there, text="1/8")

    assert refused["error_code"] == 429
    assert 58 <= refused["parameters"]["retry_after"] <= 60


async def test_chats_that_are_closed_or_moved_say_so(telegram: FakeTelegram) -> None:
    app = application(telegram)
    await telegram.kick_bot(telegram.supergroup)
    fresh = await telegram.upgrade(telegram.group)

    async with app.bot:
        with pytest.raises(Forbidden, match="bot was kicked from the supergroup chat"):
            await app.bot.send_message(telegram.supergroup.id, "x")
        with pytest.raises(ChatMigrated) as moved:
            await app.bot.send_message(telegram.group.id, "x")
        await app.bot.send_message(moved.value.new_chat_id, "moved along")

    assert [message.text for message in fresh.from_bot] == ["moved along"]
    kinds = [next(iter(update.keys() - {"update_id"})) for update in telegram.mailbox.updates]
    assert kinds == ["my_chat_member", "message", "message"]


@pytest.mark.parametrize(
    ("method", "fields", "violation"),
    [
        ("sendMessge", {}, "sendMessge: there is no such method"),
        ("sendPoll", {"chat_id": 1}, "sendPoll: not served here"),
        ("sendMessage", {"chat_id": 1}, "sendMessage: the field text is missing"),
        ("sendMessage", {"chat_id": 1, "text": "x", "reply_to_message_id": 4}, "sendMessage: there is no field reply_to_message_id"),
        ("sendMessage", {"chat_id": 1, "text": "x", "reply_markup": None}, "sendMessage: reply_markup is null; leave it out"),
        ("sendMessage", {"chat_id": 1, "text": "x", "protect_content": "maybe"}, "sendMessage: protect_content must be of type Boolean"),
        ("editMessageMedia", {"media": {"type": "photo", "media": "x", "thumbnail": "y"}}, "editMessageMedia: there is no field media.thumbnail"),
        ("setMyCommands", {"commands": [{"command": "x"}]}, "setMyCommands: commands[0].description is missing"),
    ],
)  # fmt: skip
async def test_requests_against_the_specification_are_written_down(
    telegram: FakeTelegram, method: str, fields: Any, violation: str
) -> None:
    if not telegram.checks_requests:
        pytest.skip("the Bot API's description is not at hand; SPECS_DIR names its folder")

    answer = await post(telegram, method, **fields)

    assert not answer["ok"]
    assert telegram.violations == [violation]


async def test_without_the_specification_requests_are_served_unchecked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("SPECS_DIR", str(tmp_path))

    async with FakeTelegram() as telegram:
        await place(telegram, reply_to_message_id=4)

        assert len(telegram.private.messages) == 1
        assert telegram.violations == []


async def test_a_wrong_token_is_refused_and_not_written_down(telegram: FakeTelegram) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{telegram.api_base}1:guess/getMe") as answer:
        assert answer.status == 401

    assert "guess" not in repr(telegram.requests)


async def test_a_second_poll_ends_the_first(telegram: FakeTelegram) -> None:
    first = asyncio.create_task(post(telegram, "getUpdates", timeout=30))
    await telegram.wait_for(lambda: telegram.calls("getUpdates"))

    await post(telegram, "getUpdates", timeout=0)

    assert (await first)["error_code"] == 409


async def test_a_repeated_update_keeps_its_id_and_a_confirmed_one_is_gone(telegram: FakeTelegram) -> None:
    said = await telegram.send("/imagine a 🐈 /x@easel_test_bot")
    first = await post(telegram, "getUpdates", timeout=5)
    confirmed = await post(telegram, "getUpdates", offset=first["result"][0]["update_id"] + 1)
    await telegram.resend(said)
    again = await post(telegram, "getUpdates", offset=first["result"][0]["update_id"] + 1, timeout=5)

    assert confirmed["result"] == []
    assert again["result"] == first["result"]
    assert [(one["offset"], one["length"]) for one in first["result"][0]["message"]["entities"]] == [(0, 8), (14, 17)]


async def test_a_webhook_gets_each_update_until_it_says_yes(telegram: FakeTelegram) -> None:
    seen: list[tuple[str | None, int]] = []

    async def hook(request: web.Request) -> web.Response:
        seen.append((request.headers.get("X-Telegram-Bot-Api-Secret-Token"), (await request.json())["update_id"]))
        return web.Response(status=503 if len(seen) == 1 else 200)

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"

    await post(telegram, "setWebhook", url=url, secret_token="s3cret")
    said = await telegram.send("/imagine a cat")
    await telegram.wait_for(lambda: len(seen) == 2 and not telegram.mailbox.pending)
    polled = await post(telegram, "getUpdates")
    info = await post(telegram, "getWebhookInfo")
    await runner.cleanup()

    assert seen == [("s3cret", said.update_id)] * 2
    assert polled["error_code"] == 409
    assert info["result"]["last_error_message"] == "Wrong response from the webhook: 503 Service Unavailable"
