"""Pictures on Telegram, over the wire: under a command, in a message that is replied to, by address, and no good ones."""

import pytest

from bot.commands import Commands
from easel.buttons import Button, button_id
from easel.job_queue.queue import JobQueue
from easel.jobs import ImageRequest
from tests.fakes.hostile_pictures import blank_png
from tests.fakes.internet import serve
from tests.fakes.results import end
from tests.fakes.telegram_client import png
from tests.fakes.telegram_door import a_picture, answer_to, ask, commands_on, jobs, open_door
from tests.fakes.telegram_fields import Upload
from tests.fakes.telegram_server import FakeTelegram
from tests.fakes.wishes import png as told
from tests.fakes.wishes import size_of

INFOTEXT = """\
a lighthouse
Negative prompt: blurry
Steps: 12, Sampler: Euler a, CFG scale: 6, Seed: 77, Size: 192x128, Model: easel-demo, ENSD: 31337"""
QUEUED = "Queued. No worker is running yet; the picture is drawn as soon as one is."


def a_file(name: str, content: bytes) -> Upload:
    return Upload(name, content, "application/octet-stream")


def asked(queue: JobQueue) -> ImageRequest:
    return jobs(queue)[-1].request


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("command", ["/imagine", "/imagine@easel_test_bot", "/Imagine"])
@pytest.mark.parametrize("where", ["private", "supergroup"])
async def test_a_photo_under_a_command_is_started_from(
    telegram: FakeTelegram, queue: JobQueue, command: str, where: str
) -> None:
    chat = getattr(telegram, where)

    answer = await ask(telegram, f"{command} a hat --strength 0.5", photo=png(2000, 1000), chat=chat)

    request = asked(queue)
    assert answer.text == QUEUED
    assert (request.prompt, request.denoising_strength, request.width > request.height) == ("a hat", 0.5, True)
    assert size_of(queue.picture(request.init_image)) == (1280, 640)  # the largest of the sizes that Telegram serves


@pytest.mark.usefixtures("door")
async def test_a_file_under_a_command_is_started_from(telegram: FakeTelegram, queue: JobQueue) -> None:
    file = a_file("cat.png", png(80, 60))

    await ask(telegram, "/imagine a hat\nrain", document=file)

    request = asked(queue)
    assert (request.prompt, request.negative_prompt) == ("a hat", "rain")
    assert size_of(queue.picture(request.init_image)) == (80, 60)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("where", ["private", "forum"])
async def test_a_picture_that_is_replied_to_is_started_from(
    telegram: FakeTelegram, queue: JobQueue, where: str
) -> None:
    chat = getattr(telegram, where)
    thread = 77 if where == "forum" else None
    said = await telegram.send("look", photo=png(80, 60), chat=chat, user=telegram.bob, thread=thread)

    await ask(telegram, "/imagine a hat", reply_to=said, chat=chat, thread=thread)

    assert size_of(queue.picture(asked(queue).init_image)) == (80, 60)


@pytest.mark.usefixtures("door")
async def test_ones_own_picture_counts_more_than_the_one_replied_to(telegram: FakeTelegram, queue: JobQueue) -> None:
    said = await telegram.send("look", photo=png(80, 60))

    await ask(telegram, "/imagine a hat", reply_to=said, photo=png(40, 20))

    assert size_of(queue.picture(asked(queue).init_image)) == (40, 20)


@pytest.mark.usefixtures("door")
async def test_a_reply_to_words_or_to_another_file_is_no_picture(telegram: FakeTelegram, queue: JobQueue) -> None:
    words = await telegram.send("look")
    notes = await telegram.send("read", document=a_file("notes.txt", b"notes"))

    for said in (words, notes):
        await ask(telegram, "/imagine a hat", reply_to=said)

    assert [job.request.init_image for job in jobs(queue)] == ["", ""]


@pytest.mark.usefixtures("door")
async def test_of_an_album_the_picture_above_the_command_counts(telegram: FakeTelegram, queue: JobQueue) -> None:
    first, *_ = await telegram.send_album([png(80, 60), png(40, 40)], "/imagine a hat")

    await answer_to(telegram, first)

    assert len(jobs(queue)) == 1
    assert size_of(queue.picture(asked(queue).init_image)) == (80, 60)


async def test_a_picture_is_fetched_from_a_host_that_the_owner_named(telegram: FakeTelegram, queue: JobQueue) -> None:
    body = png(80, 60)
    server, socket = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    commands = commands_on(queue.connection, telegram, queue.key, EASEL_PRIVATE_HOSTS="127.0.0.1")

    async with open_door(telegram, commands):
        await ask(telegram, f"/imagine a hat --image {server.url}a.png --mask {server.url}b.png", photo=png())
    socket.close()

    assert sorted(server.targets) == ["/a.png", "/b.png"]
    assert size_of(queue.picture(asked(queue).mask)) == (80, 60)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("text", "data", "sentence"),
    [
        ("/imagine a hat", b"<html>", "That is a web page, not a picture"),
        ("/imagine a hat", b"PK\3\4", "That is a ZIP archive"),
        ("/imagine a hat", png()[:100], "That picture is damaged"),
        ("/imagine a hat", blank_png(13_000, 13_000), "please make it smaller"),
        ("/imagine", png(), "That picture does not tell how it was made"),
        ("/imagine a hat --upscale 9", png(), "`upscale` must be a number from 2 to 4, not `9`."),
        ("/imagine a hat --image http://127.0.0.1:6379/", png(), "`127.0.0.1` can not be reached"),
    ],
)
async def test_a_picture_that_is_no_good_is_refused_with_one_sentence(
    telegram: FakeTelegram, queue: JobQueue, text: str, data: bytes, sentence: str
) -> None:
    answer = await ask(telegram, text, document=a_file("cat.png", data))

    assert sentence in str(answer.text)
    assert jobs(queue) == []
    assert not queue.connection.keys("easel:blob:*")


@pytest.mark.usefixtures("door")
async def test_a_file_that_is_too_large_is_not_asked_for(telegram: FakeTelegram, queue: JobQueue) -> None:
    answer = await ask(telegram, "/imagine a hat", document=a_file("cat.png", bytes(21 * 2**20)))

    assert answer.text == "That file has 21.0 MB; a picture may have up to 20 MB."
    assert not telegram.calls("getFile")


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("method", ["getFile", "file"])
async def test_a_file_that_telegram_does_not_hand_over_is_told_without_the_token(
    telegram: FakeTelegram, queue: JobQueue, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    telegram.fail_next(method, 502, html=True)

    answer = await ask(telegram, "/imagine a hat", photo=png())

    assert answer.text == "Telegram did not hand over that picture. Please send it again."
    assert jobs(queue) == []
    assert telegram.token not in caplog.text


# -- infotexts


@pytest.mark.usefixtures("door")
async def test_a_pasted_infotext_is_drawn_again(telegram: FakeTelegram, queue: JobQueue) -> None:
    said = await telegram.send(f"/imagine {INFOTEXT}\n--steps 5")
    await telegram.wait_for(lambda: len(telegram.private.from_bot) == 2)

    request = asked(queue)
    assert (request.prompt, request.negative_prompt, request.seed) == ("a lighthouse", "blurry", 77)
    assert (request.steps, request.rng, request.width) == (5, "nv", 192)
    placeholder, note = telegram.private.from_bot
    assert (placeholder.text, placeholder.reply_to, note.reply_to) == (QUEUED, said, said)
    assert note.text == "Left out, as I do not know what to do with it: ENSD."


@pytest.mark.usefixtures("door")
async def test_a_pasted_text_of_two_lines_has_no_second_line_of_ours(telegram: FakeTelegram, queue: JobQueue) -> None:
    await ask(telegram, "/imagine a lighthouse\nSteps: 12, Sampler: Euler a, Seed: 77, Size: 192x128")

    assert (asked(queue).prompt, asked(queue).negative_prompt, asked(queue).steps) == ("a lighthouse", "", 12)


@pytest.mark.usefixtures("door")
async def test_a_file_that_tells_how_it_was_made_is_drawn_again(telegram: FakeTelegram, queue: JobQueue) -> None:
    said = await telegram.send("look", document=a_file("cat.png", told(infotext=INFOTEXT)))

    await ask(telegram, "/imagine --seed 5", reply_to=said)

    assert (asked(queue).prompt, asked(queue).seed, asked(queue).init_image) == ("a lighthouse", 5, "")


@pytest.mark.usefixtures("door")
async def test_how_a_picture_was_made_is_shown(telegram: FakeTelegram) -> None:
    file = a_file("cat.png", told(infotext=INFOTEXT))
    said = await telegram.send("look", document=file)

    assert (await ask(telegram, "/show", reply_to=said)).text == INFOTEXT
    assert (await ask(telegram, "/show", document=file)).text == INFOTEXT
    assert (await ask(telegram, "/show")).text == "Please send a picture along, or reply to one."
    assert str((await ask(telegram, "/show", photo=png())).text).startswith("This picture does not tell")


@pytest.mark.usefixtures("door")
async def test_our_own_photo_is_known_by_its_buttons(telegram: FakeTelegram, queue: JobQueue) -> None:
    job, _ = await a_picture(telegram, queue, telegram.private)
    end(queue, job, png(), infotext=INFOTEXT)
    row = [{"text": "Again", "callback_data": button_id(Button("again", job.id), queue.key)}]
    photo = await telegram.send("done", photo=png(), reply_markup={"inline_keyboard": [row]})

    shown = await ask(telegram, "/show", reply_to=photo)
    await ask(telegram, "/imagine", reply_to=photo)

    assert shown.text == INFOTEXT
    assert (asked(queue).prompt, asked(queue).seed) == ("a lighthouse", 77)


async def test_several_pictures_at_once_hold_nobody_up(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    telegram.slow_next("getFile", 2)

    async with open_door(telegram, commands):
        slow = await telegram.send("/imagine a hat", photo=png())
        await ask(telegram, "/imagine a cat")
        quick = [job.request.prompt for job in jobs(queue)]
        await answer_to(telegram, slow)

    assert quick == ["a cat"]
    assert len(jobs(queue)) == 2
