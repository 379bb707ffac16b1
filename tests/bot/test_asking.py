"""What commands do with wishes: pictures in the store, questions before several pictures, and the buttons."""

from pathlib import Path

import pytest

from bot.asking.sources import Sources
from bot.commands import Commands, Placed
from easel.buttons import Button, button_id, read_button
from easel.errors import BadPrompt, BadValue, Expired, NotYours, QueueDown, UnknownModel
from easel.job_queue import names
from easel.job_queue.connect import impatient
from easel.job_queue.queue import JobQueue
from easel.jobs import Asker, ImageRequest, TelegramAddress
from tests.fakes.jobs import a_job
from tests.fakes.results import end
from tests.fakes.wishes import INFOTEXT, a_catalog, attached, picture, png, size_of, sources

ME, STRANGER = Asker(network="telegram", id="7"), Asker(network="telegram", id="8")
HERE = TelegramAddress(chat_id=5)
CATALOG = a_catalog()


@pytest.fixture
def commands(queue: JobQueue, tmp_path: Path) -> Commands:
    (tmp_path / "animals.txt").write_text("owl\n")
    return Commands(queue, lambda: CATALOG, sources=sources(tmp_path))


def imagined(commands: Commands, job_id: str = "job12345", **form: object) -> Placed:
    return commands.imagine({"prompt": "a cat"} | form, asker=ME, reply_to=HERE, job_id=job_id)


def blobs(queue: JobQueue) -> int:
    return len(queue.connection.keys(names.blob_key("*")))


# -- pictures


def test_pictures_lie_in_the_store_under_the_names_the_request_knows(commands: Commands, queue: JobQueue) -> None:
    image, mask = picture(), picture(96, 64)

    request = imagined(commands, image=image, mask=mask).job.request

    assert queue.picture(request.init_image) == image.png
    assert queue.picture(request.mask) == mask.png
    assert queue.state("job12345").job.request == request


def test_a_controlnet_and_the_start_share_one_picture(commands: Commands, queue: JobQueue) -> None:
    request = imagined(commands, image=picture(), control="control_canny", strength="0.5").job.request

    assert request.control is not None
    assert request.control.image == request.init_image
    assert blobs(queue) == 1


async def test_a_refused_wish_leaves_nothing_behind(commands: Commands, queue: JobQueue) -> None:
    form = await commands.open({"prompt": "a __gone__ cat", "image": attached(png())})

    with pytest.raises(BadPrompt, match="no wildcard called `gone`"):
        commands.imagine(form, asker=ME, reply_to=HERE, job_id="job12345")
    with pytest.raises(BadValue):
        await commands.open({"prompt": "a cat", "image": attached(b"no picture")})

    assert (queue.waiting(), blobs(queue)) == (0, 0)


def test_choices_are_made_at_the_door(commands: Commands) -> None:
    assert imagined(commands, prompt="a {red} __animals__").job.request.prompt == "a {red} owl"


# -- what our own buttons know of a picture


async def test_a_picture_of_ours_is_known_by_its_buttons(commands: Commands, queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    end(queue, job, png(), infotext=INFOTEXT)
    ids = ("x", button_id(Button("again", "gone1234"), queue.key), button_id(Button("again", job.id), queue.key))

    shown = commands.show(await commands.open({"picture": attached(png(), buttons=ids)}))
    drawn = commands.request(await commands.open({"prompt": "", "image": attached(png(), buttons=ids)}))

    assert shown == INFOTEXT
    assert (drawn.prompt, drawn.seed, drawn.init_image) == ("a lighthouse, (storm:1.2)", 77, "")


async def test_a_picture_tells_how_it_was_made_or_that_it_does_not(commands: Commands) -> None:
    assert commands.show(await commands.open({"picture": attached(png(infotext=INFOTEXT))})) == INFOTEXT
    with pytest.raises(BadValue, match=r"does not tell how it was made. Telegram and others strip"):
        commands.show(await commands.open({"picture": attached(png())}))
    with pytest.raises(BadValue, match="send a picture along, or reply to one"):
        commands.show({})


# -- several at once


def test_several_pictures_wait_for_a_yes(commands: Commands, queue: JobQueue) -> None:
    wish = commands.wish({"prompt": "a {red, green} cat", "image": picture(), "steps": "5"})

    question = commands.ask_first(wish, asker=ME, reply_to=HERE, job_id="job12345")
    draw, cancel = (read_button(data, queue.key) for _, data in question.buttons)
    waiting = queue.waiting()
    jobs = commands.planned(draw, asker=ME)
    placed = [commands.draw_planned(job, reply_to=HERE) for job in jobs]
    again = [commands.draw_planned(job, reply_to=HERE) for job in jobs]

    assert question.text == "Your words make 2 different pictures."
    assert [label for label, _ in question.buttons] == ["Draw 2 pictures", "Cancel"]
    assert (draw.verb, cancel.verb, waiting, queue.waiting()) == ("draw", "cancel", 0, 2)
    assert [one.job.request.prompt for one in placed] == ["a red cat", "a green cat"]
    assert [one.fresh for one in [*placed, *again]] == [True, True, False, False]
    assert blobs(queue) == 1
    assert queue.picture(jobs[1].request.init_image)


def test_only_the_asker_says_yes_and_no_is_final(commands: Commands, queue: JobQueue) -> None:
    wish = commands.wish({"prompt": "a {red, green} cat"})
    question = commands.ask_first(wish, asker=ME, reply_to=HERE, job_id="job12345")
    button = read_button(question.buttons[0][1], queue.key)

    with pytest.raises(NotYours, match="Only the person who asked for these pictures"):
        commands.planned(button, asker=STRANGER)
    commands.give_up(button)
    with pytest.raises(Expired, match="no longer remember what this was about"):
        commands.planned(button, asker=ME)
    assert queue.waiting() == 0


def test_at_the_command_line_all_are_drawn(commands: Commands, queue: JobQueue) -> None:
    wish = commands.wish({"prompt": "a {red, green} cat"})

    placed = commands.draw_all(wish, asker=ME, reply_to=HERE, job_id="job12345")

    assert len({one.job.id for one in placed}) == queue.waiting() == 2


def test_notes_reach_the_asker(commands: Commands) -> None:
    assert imagined(commands, prompt=INFOTEXT).notes == ("Left out, as I do not know what to do with it: ENSD.",)
    assert imagined(commands, "job67890").notes == ()


# -- buttons


def press(commands: Commands, queue: JobQueue, verb: str, n: int = 0, job_id: str = "job67890") -> ImageRequest:
    button, state = commands.press(button_id(Button(verb, "job12345", n), queue.key))  # type: ignore[arg-type]
    return commands.redraw(button, state, asker=STRANGER, reply_to=HERE, job_id=job_id).job.request


def test_a_button_draws_another_request_for_whoever_presses(commands: Commands, queue: JobQueue) -> None:
    first = imagined(commands, count="4", seed="5").job.request

    varied, large = press(commands, queue, "vary", 2), press(commands, queue, "upscale", 3, "job00003")

    assert (varied.seed, varied.variation_strength, varied.batch_size) == (7, 0.2, 4)
    assert (large.seed, large.batch_size, large.hires_fix and large.hires_fix.scale) == (8, 1, 2.0)
    assert queue.state("job67890").job.asker == STRANGER
    assert first.seed == 5


def test_a_picture_that_was_given_is_given_to_the_next_job_too(commands: Commands, queue: JobQueue) -> None:
    image = picture()
    first = imagined(commands, image=image, control="control_canny", strength="0.5").job.request
    queue.connection.expire(names.blob_key(first.init_image), 10)

    second = press(commands, queue, "again")

    assert second.control is not None
    assert second.control.image == second.init_image
    assert queue.picture(second.init_image) == image.png
    assert queue.connection.ttl(names.blob_key(second.init_image)) > 3600


def test_a_picture_that_is_gone_has_to_be_sent_again(commands: Commands, queue: JobQueue) -> None:
    request = imagined(commands, image=picture()).job.request
    queue.connection.delete(names.blob_key(request.init_image))

    with pytest.raises(Expired, match=r"no longer have the picture that you gave me. Please send it again"):
        press(commands, queue, "vary")
    assert queue.waiting() == 1


def test_a_button_of_a_checkpoint_that_is_gone_names_the_nearest(commands: Commands, queue: JobQueue) -> None:
    queue.put(a_job("job12345", checkpoint="easel-dem"))

    with pytest.raises(UnknownModel, match="Did you mean `easel-demo`"):
        press(commands, queue, "upscale")


def test_too_much_work_is_refused_at_a_button_too(commands: Commands, queue: JobQueue) -> None:
    queue.put(a_job("job12345", width=1024, height=1024, steps=150, batch_size=1, sampler="Heun"))

    with pytest.raises(BadValue, match="times as much work"):
        press(commands, queue, "upscale")


def test_redis_away_is_told_for_pictures_and_questions_too(tmp_path: Path) -> None:
    commands = Commands(
        JobQueue(impatient("redis://127.0.0.1:1"), key=b"k"), lambda: CATALOG, sources=sources(tmp_path)
    )

    with pytest.raises(QueueDown):
        imagined(commands, image=picture())
    with pytest.raises(QueueDown):
        commands.ask_first(commands.wish({"prompt": "{a, b}"}), asker=ME, reply_to=HERE, job_id="job12345")


# -- completion


def test_completion_offers_styles_and_controlnets(commands: Commands) -> None:
    assert [choice.value for choice in commands.suggest("style", "", {})] == ["oil", "sharp", "both"]
    assert [choice.value for choice in commands.suggest("style", "sha", {})] == ["sharp"]
    assert [choice.value for choice in commands.suggest("control", "cann", {})] == ["control_canny"]


def test_sources_come_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from easel.settings import load_settings

    monkeypatch.chdir(tmp_path)
    (tmp_path / "styles.csv").write_text("name,prompt,negative_prompt\nOil,oil,\n")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.txt").write_text("b\n")

    found = Sources.of(load_settings({"EASEL_WILDCARDS_DIR": "words", "EASEL_PRIVATE_HOSTS": "NAS.lan, 10.0.0.5:8080"}))

    assert list(found.styles()) == ["Oil"]
    assert found.wildcards.lines("a") == ("b",)
    assert found.private_hosts == {"nas.lan", "10.0.0.5:8080"}


async def test_a_large_photo_is_stored_small(commands: Commands, queue: JobQueue) -> None:
    form = await commands.open({"prompt": "a cat", "image": attached(png(4000, 3000))})

    request = commands.imagine(form, asker=ME, reply_to=HERE, job_id="job12345").job.request

    assert size_of(queue.picture(request.init_image)) == (2048, 1536)
