"""Pictures on Discord, over the wire: in a form, by address, in the menu of a message, and when they are no good."""

import pytest

from bot.commands import COMMANDS, Commands
from easel.buttons import Button, button_id
from easel.job_queue.queue import JobQueue
from easel.jobs import ImageRequest
from tests.fakes.discord_door import AT_ONCE_S, commands_on, jobs, open_door, placed
from tests.fakes.discord_files import Upload
from tests.fakes.discord_messages import Draft
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.discord_world import Posting
from tests.fakes.hostile_pictures import blank_png
from tests.fakes.internet import serve
from tests.fakes.jobs import a_job
from tests.fakes.results import end
from tests.fakes.wishes import png, size_of

DRAW, SHOW = (row.menu for row in COMMANDS if row.menu)
INFOTEXT = """\
a lighthouse
Negative prompt: blurry
Steps: 12, Sampler: Euler a, CFG scale: 6, Seed: 77, Size: 192x128, Model: easel-demo, ENSD: 31337"""


def asked(queue: JobQueue) -> ImageRequest:
    (job,) = jobs(queue)
    return job.request


@pytest.mark.usefixtures("door")
async def test_files_of_a_form_reach_the_store(discord: FakeDiscord, queue: JobQueue) -> None:
    files = {"image": Upload("cat.png", png(64, 48)), "mask": Upload("mask.png", png(64, 48, color="white"))}

    interaction = await discord.slash("imagine", {"prompt": "a hat", "strength": 0.5} | files)

    assert await interaction.acknowledged < AT_ONCE_S
    message = await interaction.message
    request = asked(queue)
    assert await placed(queue, jobs(queue)[0]) == message.id
    assert (message.content.startswith("Queued."), message.ephemeral) == (True, False)
    assert (request.denoising_strength, request.width > request.height) == (0.5, True)
    assert size_of(queue.picture(request.init_image)) == size_of(queue.picture(request.mask)) == (64, 48)


@pytest.mark.usefixtures("door")
async def test_a_picture_is_enlarged_without_a_word(discord: FakeDiscord, queue: JobQueue) -> None:
    interaction = await discord.slash("imagine", {"prompt": "--upscale", "image": Upload("cat.png", png())})

    await interaction.message
    request = asked(queue)
    assert request.prompt == ""
    assert (request.upscale and request.upscale.scale, request.upscale and request.upscale.upscaler) == (2.0, "Lanczos")


async def test_a_picture_is_fetched_from_a_host_that_the_owner_named(discord: FakeDiscord, queue: JobQueue) -> None:
    body = png(64, 48)
    server, socket = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    commands = commands_on(queue.connection, discord, queue.key, EASEL_PRIVATE_HOSTS=f"127.0.0.1:{server.port}")

    async with open_door(discord, commands):
        interaction = await discord.slash("imagine", {"prompt": f"a hat --image {server.url}cat.png --steps 3"})
        await interaction.message
    socket.close()

    assert server.targets == ["/cat.png"]
    assert (asked(queue).prompt, asked(queue).steps) == ("a hat", 3)
    assert size_of(queue.picture(asked(queue).init_image)) == (64, 48)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("filled", "sentence"),
    [
        ({"image": Upload("x.png", b"<html>")}, "That is a web page, not a picture"),
        ({"image": Upload("x.png", b"%PDF-1.7")}, "That is a PDF document"),
        ({"image": Upload("x.png", png()[:100])}, "That picture is damaged"),
        ({"image": Upload("x.png", blank_png(13_000, 13_000))}, "please make it smaller"),
        ({"image": Upload("x.png", png(), declared_size=99 * 2**20)}, "That file has 99.0 MB"),
        ({"image": Upload("x.png", png()), "mask": Upload("y.png", png(64, 64))}, "which is another shape"),
        ({"image": Upload("x.png", png()), "prompt": "--seed 1"}, "That picture does not tell how it was made"),
        ({"prompt": "a hat --image http://127.0.0.1:6379/"}, "can not be reached"),
        ({"prompt": "a hat --image file:///etc/passwd"}, "Only addresses that begin with http"),
    ],
)
async def test_a_picture_that_is_no_good_is_refused_for_its_sender_alone(
    discord: FakeDiscord, queue: JobQueue, filled: dict[str, object], sentence: str
) -> None:
    interaction = await discord.slash("imagine", {"prompt": "a hat"} | filled)

    message = await interaction.wait_for(lambda one: bool(one.content))
    assert sentence in message.content.replace("\\", "")
    assert (message.ephemeral, message.visible_to) == (True, discord.alice.id)
    assert interaction.original is not None
    assert interaction.original.deleted
    assert jobs(queue) == []
    assert not queue.connection.keys("easel:blob:*")


@pytest.mark.usefixtures("door")
async def test_what_needs_a_picture_is_told_before_anything_is_promised(discord: FakeDiscord, queue: JobQueue) -> None:
    interaction = await discord.slash("imagine", {"prompt": "a hat", "zoom": 2})

    message = await interaction.message
    assert "`zoom` needs a picture" in message.content.replace("\\", "")
    assert interaction.response_type == 4


@pytest.mark.usefixtures("door")
async def test_a_file_that_discord_does_not_hand_over_is_told(discord: FakeDiscord, queue: JobQueue) -> None:
    discord.shelf.life_s = -1

    interaction = await discord.slash("imagine", {"prompt": "a hat", "image": Upload("x.png", png())})

    message = await interaction.wait_for(lambda one: bool(one.content))
    assert message.content == "Discord did not hand over that picture. Please send it again."
    assert jobs(queue) == []


# -- infotexts


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("text", [INFOTEXT, INFOTEXT.replace("\n", " ")])
async def test_a_pasted_infotext_is_drawn_again(discord: FakeDiscord, queue: JobQueue, text: str) -> None:
    interaction = await discord.slash("imagine", {"prompt": f"{text} --steps 5"})

    await interaction.message
    request = asked(queue)
    assert (request.prompt, request.negative_prompt, request.seed) == ("a lighthouse", "blurry", 77)
    assert (request.steps, request.rng, request.width) == (5, "nv", 192)
    note = await interaction.wait_for(lambda one: one is not interaction.original)
    assert (note.content, note.ephemeral) == ("Left out, as I do not know what to do with it: ENSD.", True)


@pytest.mark.usefixtures("door")
async def test_an_infotext_with_an_unknown_checkpoint_names_the_nearest(discord: FakeDiscord, queue: JobQueue) -> None:
    interaction = await discord.slash("imagine", {"prompt": INFOTEXT.replace("easel-demo", "easel_dmeo")})

    message = await interaction.message
    assert "Did you mean `easel-demo`" in message.content.replace("\\", "")
    assert (message.ephemeral, jobs(queue)) == (True, [])


@pytest.mark.usefixtures("door")
async def test_a_picture_in_a_message_is_drawn_again_from_its_menu(discord: FakeDiscord, queue: JobQueue) -> None:
    said = await discord.say("look", files=[Upload("note.txt", b"x"), Upload("cat.png", png(infotext=INFOTEXT))])

    interaction = await discord.message_command(DRAW, said, user_id=discord.bob.id)

    await interaction.message
    (job,) = jobs(queue)
    assert (job.request.prompt, job.request.seed, job.request.init_image) == ("a lighthouse", 77, "")
    assert job.asker.id == str(discord.bob.id)


@pytest.mark.usefixtures("door")
async def test_how_a_picture_was_made_is_shown_to_who_asks(discord: FakeDiscord) -> None:
    said = await discord.say("look", files=[Upload("cat.png", png(infotext=INFOTEXT))])

    by_menu = await discord.message_command(SHOW, said)
    by_slash = await discord.slash("show", {"picture": Upload("cat.png", png(infotext=INFOTEXT))})

    for interaction in (by_menu, by_slash):
        message = await interaction.message
        assert message.ephemeral
        assert message.content.replace("\\", "") == INFOTEXT


@pytest.mark.usefixtures("door")
async def test_our_own_picture_is_known_by_its_buttons(discord: FakeDiscord, queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    end(queue, job, png(), infotext=INFOTEXT)
    row = [{"type": 2, "style": 2, "label": "Again", "custom_id": button_id(Button("again", job.id), queue.key)}]
    body = {"content": "done", "components": [{"type": 1, "components": row}]}
    draft = Draft(body, {0: Upload("picture-1.png", png())}, discord.general.id, "bot")
    ours = discord.post(draft, Posting(author=discord.bot))

    interaction = await discord.message_command(SHOW, ours)

    message = await interaction.message
    assert message.content.replace("\\", "") == INFOTEXT


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("menu", "files", "sentence"),
    [
        (SHOW, (), "Please send a picture along, or reply to one."),
        (SHOW, (Upload("cat.png", png()),), "This picture does not tell how it was made."),
        (DRAW, (), "Please say what the picture should show"),
        (DRAW, (Upload("cat.png", png()),), "That picture does not tell how it was made"),
    ],
)
async def test_a_message_that_tells_nothing_is_said_to(
    discord: FakeDiscord, queue: JobQueue, menu: str, files: tuple[Upload, ...], sentence: str
) -> None:
    said = await discord.say("look", files=files)

    interaction = await discord.message_command(menu, said)

    message = await interaction.wait_for(lambda one: bool(one.content))
    assert message.content.replace("\\", "").startswith(sentence)
    assert message.ephemeral
    assert jobs(queue) == []


async def test_redis_away_is_told_while_pictures_are_opened(discord: FakeDiscord) -> None:
    from easel.job_queue.connect import impatient

    said = await discord.say("look", files=[Upload("cat.png", png(infotext=INFOTEXT))])
    with impatient("redis://127.0.0.1:9") as redis:
        commands: Commands = commands_on(redis, discord, b"k" * 32)
        async with open_door(discord, commands):
            interaction = await discord.message_command(DRAW, said)
            message = await interaction.message

    assert message.content.startswith("The queue can not be reached right now.")
