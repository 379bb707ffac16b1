"""The limits and habits of the real Telegram, as the fake one keeps them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from telegram import InputMediaPhoto, Update
from telegram.error import BadRequest

from tests.fakes.telegram_client import application, place, png, post
from tests.fakes.telegram_server import FakeTelegram
from tests.fakes.telegram_spec import load_spec
from tests.fakes.telegram_world import ANONYMOUS_ADMIN


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as telegram:
        yield telegram


@pytest.mark.parametrize(
    ("fields", "description"),
    [
        ({"text": "a <lora:x:0.8> b", "parse_mode": "HTML"}, 'Unsupported start tag "lora:x:0.8" at byte offset 2'),
        ({"text": "é <b>x", "parse_mode": "HTML"}, "Can't find end tag corresponding to start tag \"b\""),
        ({"text": "<b>x</i>", "parse_mode": "HTML"}, 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ({"text": "x</b>", "parse_mode": "HTML"}, "Unexpected end tag at byte offset 1"),
        ({"text": "<b>\n</b>", "parse_mode": "HTML"}, "message text is empty"),
        ({"text": "🐈" * 2049}, "message is too long"),
        ({"text": "🐈", "entities": [{"type": "bold", "offset": 1, "length": 1}]}, "middle of a UTF-16 symbol"),
        ({"text": "cat", "entities": [{"type": "bold", "offset": 1, "length": 3}]}, "ends after the end of the text"),
        ({"text": "x", "message_thread_id": 77}, "message thread not found"),
        ({"text": "x", "reply_parameters": {"message_id": 9}}, "message to be replied not found"),
        ({"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "ü" * 33}]]}}, "BUTTON_DATA_INVALID"),
        ({"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a"}]]}}, "Text buttons are unallowed"),
        ({"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a", "url": "http://a"}]] * 101}}, "REPLY_MARKUP_TOO_LONG"),
    ],
)  # fmt: skip
async def test_what_telegram_refuses_is_refused(telegram: FakeTelegram, fields: Any, description: str) -> None:
    answer = await post(telegram, "sendMessage", chat_id=telegram.private.id, **fields)

    assert answer["error_code"] == 400
    assert description in answer["description"]
    assert telegram.private.messages == []


async def test_html_and_entities_are_kept_in_utf16_units(telegram: FakeTelegram) -> None:
    await place(telegram, ' 🐈&lt;<a href="https://a.b/?c&amp;d">x<b>y</b></a> &nbsp; ', parse_mode="HTML")
    await place(telegram, "🐈 cat", entities=[{"type": "italic", "offset": 3, "length": 3}])

    linked, slanted = telegram.private.messages
    assert linked.text == "🐈<xy &nbsp;"
    assert linked.state.entities == (
        {"type": "text_link", "offset": 3, "length": 2, "url": "https://a.b/?c&d"},
        {"type": "bold", "offset": 4, "length": 1},
    )
    assert slanted.state.entities == ({"type": "italic", "offset": 3, "length": 3},)


@pytest.mark.parametrize(("size", "problem"), [((9_000, 1_001), "PHOTO_INVALID_DIMENSIONS"), ((210, 10), "PHOTO_INVALID_DIMENSIONS"), (None, "IMAGE_PROCESS_FAILED")])  # fmt: skip
async def test_photos_are_measured(telegram: FakeTelegram, size: tuple[int, int] | None, problem: str) -> None:
    app = application(telegram)

    async with app.bot:
        with pytest.raises(BadRequest, match=f"(?i){problem}"):
            await app.bot.send_photo(telegram.private.id, png(*size) if size else b"no picture")
        with pytest.raises(BadRequest, match="too big for a photo"):
            await app.bot.send_photo(telegram.private.id, bytes((10 << 20) + 1))
        await app.bot.send_document(telegram.private.id, b"no picture", filename="x.bin")

    assert [message.file_name for message in telegram.private.messages] == ["x.bin"]


async def test_edits_are_compared_and_must_find_their_message(telegram: FakeTelegram) -> None:
    there = await place(telegram, reply_markup={"inline_keyboard": [[{"text": "Cancel", "callback_data": "c"}]]})

    bare = await post(telegram, "editMessageText", **there, text="queued")
    same = await post(telegram, "editMessageText", **there, text="queued ")
    wrong_kind = await post(telegram, "editMessageCaption", **there, caption="x")
    await post(telegram, "deleteMessage", **there)
    gone = await post(telegram, "editMessageText", **there, text="later")

    assert bare["ok"]
    assert same["description"].startswith("Bad Request: message is not modified")
    assert wrong_kind["description"] == "Bad Request: there is no caption in the message to edit"
    assert gone["description"] == "Bad Request: message to edit not found"
    assert [state.markup is None for state in telegram.private.everything[0].history] == [False, True]


async def test_an_album_is_whole_or_not_at_all(telegram: FakeTelegram) -> None:
    app = application(telegram)

    async with app.bot:
        await app.bot.send_media_group(telegram.private.id, [InputMediaPhoto(png()), InputMediaPhoto(png(90, 90))])
        with pytest.raises(BadRequest, match="Image_process_failed"):
            await app.bot.send_media_group(telegram.private.id, [InputMediaPhoto(png()), InputMediaPhoto(b"x")])

    assert [message.photo for message in telegram.private.messages] == [png(), png(90, 90)]
    assert telegram.violations == []


async def test_a_late_answer_to_a_button_is_refused(telegram: FakeTelegram) -> None:
    telegram.queries.life_s = 0.0
    await place(telegram, reply_markup={"inline_keyboard": [[{"text": "Cancel", "callback_data": "c"}]]})
    query = await telegram.click(telegram.private.messages[0], "Cancel")

    answer = await post(telegram, "answerCallbackQuery", callback_query_id=query.id)

    assert "query is too old" in answer["description"]
    assert not query.answered


async def test_privacy_mode_hides_talk_and_other_bots_commands(telegram: FakeTelegram) -> None:
    await place(telegram)
    await post(telegram, "sendMessage", chat_id=telegram.supergroup.id, text="here")
    own = telegram.supergroup.messages[0]

    talk = await telegram.send("a cat", chat=telegram.supergroup)
    other = await telegram.send("/imagine@other_bot a cat", chat=telegram.supergroup)
    reply = await telegram.send("again", chat=telegram.supergroup, reply_to=own)
    ours = await telegram.send("/imagine@easel_test_bot a cat", chat=telegram.supergroup)

    assert [one.update_id is None for one in (talk, other, reply, ours)] == [True, True, False, False]
    assert (reply.thread, "is_topic_message" in reply.as_json()) == (own.message_id, False)


async def test_every_kind_of_sender_reads_as_the_real_client_reads_it(telegram: FakeTelegram) -> None:
    said = await telegram.send("/x")
    await telegram.edit(said, "/y")
    await telegram.forward("/x")
    await telegram.post("/x")
    await telegram.send_as_anonymous_admin("/x")
    await telegram.send_as_chat("/x", telegram.supergroup, telegram.channel)
    await telegram.send_album([png(), png()], "/x")
    await telegram.ask_inline("cat")
    await telegram.let_bot_in(telegram.group, status="administrator")
    spec = load_spec()

    edited, forwarded, posted, anonymous, by_channel, *album, inline, member = [
        Update.de_json(one) for one in telegram.mailbox.updates[1:]
    ]
    assert spec is None or [spec.misfits(one, "Update") for one in telegram.mailbox.updates] == [[]] * 10
    assert edited.edited_message
    assert edited.edited_message.text == "/y"
    assert forwarded.message
    assert forwarded.message.forward_origin
    assert posted.channel_post
    assert posted.channel_post.from_user is None
    assert anonymous.message
    assert anonymous.message.from_user
    assert (anonymous.message.from_user.id, anonymous.message.sender_chat) == (ANONYMOUS_ADMIN, anonymous.message.chat)
    assert by_channel.message
    assert by_channel.message.sender_chat
    assert by_channel.message.sender_chat.type == "channel"
    assert len({one.message.media_group_id for one in album if one.message}) == 1
    assert inline.inline_query
    assert member.my_chat_member


async def test_the_bot_tells_about_itself_and_asks_about_chats(telegram: FakeTelegram) -> None:
    app = application(telegram)

    async with app.bot as bot:
        await bot.set_my_commands([("imagine", "Paint a picture")], language_code="de")
        with pytest.raises(BadRequest, match="Bot_command_invalid"):
            await bot.set_my_commands([("Imagine!", "Paint a picture")])
        await bot.set_my_description("Paints.")
        await bot.send_chat_action(telegram.forum.id, "upload_photo", message_thread_id=77)
        said = await telegram.send("/x")
        await bot.set_message_reaction(telegram.private.id, said.message_id, "👀")
        leaders = await bot.get_chat_administrators(telegram.supergroup.id)
        whole = await bot.get_chat(telegram.forum.id)
        member = await bot.get_chat_member(telegram.supergroup.id, telegram.bob.id)

    assert telegram.settings.commands == {("default", "de"): [{"command": "imagine", "description": "Paint a picture"}]}
    assert (telegram.forum.actions, said.reactions) == (["upload_photo"], ["👀"])
    assert ([one.user.id for one in leaders], member.status, whole.is_forum) == ([telegram.alice.id], "member", True)
    assert telegram.violations == []
