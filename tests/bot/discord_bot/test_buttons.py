"""The buttons under a picture on Discord, pressed by the asker, by others, late, and forged."""

import pytest

from bot.commands import Commands, job_id_for
from easel.buttons import Button, button_id
from easel.job_queue.queue import JobQueue
from easel.jobs import DiscordAddress
from tests.fakes.discord_door import AT_ONCE_S, a_picture, jobs, open_door, placed, put_buttons, until
from tests.fakes.discord_interaction import Interaction
from tests.fakes.discord_messages import Message
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.discord_values import MEMBER, Permission

AGAIN, DELETE = "🔄 Again", "🗑️ Delete"
INVALID = "This button is not valid any more. Please ask for the picture again."


async def told(interaction: Interaction, pressed: Message) -> Message:
    """Return what was said for a press, besides the pressed message."""
    return await interaction.wait_for(lambda message: message is not pressed and not message.loading)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("place", ["general", "thread", "elsewhere", "dm"])
async def test_again_is_a_new_message_for_whoever_presses(discord: FakeDiscord, queue: JobQueue, place: str) -> None:
    channel = discord.dm() if place == "dm" else getattr(discord, place)
    person = discord.alice if place == "dm" else discord.bob
    job, message = await a_picture(discord, queue, channel=channel)

    press = await discord.click(message, AGAIN, user_id=person.id)

    assert await press.acknowledged < AT_ONCE_S
    answer = await press.message
    new = jobs(queue)[-1]
    assert answer.content.startswith("Queued. ")
    assert (answer.ephemeral, answer.reply_to) == (False, message)
    assert (new.id, new.asker.id) == (job_id_for("discord", press.id), str(person.id))
    assert new.request.changed(seed=5) == job.request
    assert new.request.seed != 5
    assert isinstance(new.reply_to, DiscordAddress)
    assert new.reply_to.interaction_token == press.token
    assert await placed(queue, new) == answer.id
    assert message.content == "**a red apple**"


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("place", ["general", "elsewhere", "dm"])
async def test_the_asker_deletes(discord: FakeDiscord, queue: JobQueue, place: str) -> None:
    channel = discord.dm() if place == "dm" else getattr(discord, place)
    job, message = await a_picture(discord, queue, channel=channel)

    press = await discord.click(message, DELETE, user_id=discord.alice.id)

    await discord.bell.until(lambda: message.deleted or None, 5, lambda: "it stands")
    assert press.response_type == 6
    assert not press.follow_ups
    assert jobs(queue) == []
    assert (queue.state(job.id).result or job).failure.text == "Deleted."  # type: ignore[union-attr]


@pytest.mark.usefixtures("door")
async def test_nobody_else_deletes(discord: FakeDiscord, queue: JobQueue) -> None:
    _, message = await a_picture(discord, queue)

    press = await discord.click(message, DELETE, user_id=discord.bob.id)

    answer = await told(press, message)
    assert answer.content == "Only the person who asked for this picture, or a moderator, can delete it."
    assert (answer.ephemeral, answer.visible_to) == (True, discord.bob.id)
    assert not message.deleted
    assert len(jobs(queue)) == 1


@pytest.mark.usefixtures("door")
async def test_a_moderator_deletes_for_as_long_as_they_are_one(discord: FakeDiscord, queue: JobQueue) -> None:
    _, first = await a_picture(discord, queue)
    _, second = await a_picture(discord, queue)

    discord.permissions[discord.bob.id] = MEMBER | Permission.MANAGE_MESSAGES
    await discord.click(first, DELETE, user_id=discord.bob.id)
    await discord.bell.until(lambda: first.deleted or None, 5, lambda: "it stands")
    discord.permissions[discord.bob.id] = MEMBER
    press = await discord.click(second, DELETE, user_id=discord.bob.id)

    assert (await told(press, second)).ephemeral
    assert not second.deleted


@pytest.mark.usefixtures("door")
async def test_an_administrator_of_easel_deletes_anywhere(discord: FakeDiscord, queue: JobQueue) -> None:
    discord.permissions[discord.owner.id] = MEMBER
    _, message = await a_picture(discord, queue, channel=discord.elsewhere)

    await discord.click(message, DELETE, user_id=discord.owner.id)

    await discord.bell.until(lambda: message.deleted or None, 5, lambda: "it stands")


@pytest.mark.usefixtures("door")
async def test_what_discord_does_not_delete_is_told(discord: FakeDiscord, queue: JobQueue) -> None:
    _, message = await a_picture(discord, queue)
    discord.fail_next("DELETE", "@original$", 403, json={"message": "Missing Access", "code": 50001})

    press = await discord.click(message, DELETE)

    assert (await told(press, message)).content.startswith("Discord did not let me delete this message.")


@pytest.mark.usefixtures("door")
async def test_a_message_that_is_gone_already_is_fine(discord: FakeDiscord, queue: JobQueue) -> None:
    _, message = await a_picture(discord, queue)
    discord.fail_next("DELETE", "@original$", 404, json={"message": "Unknown Message", "code": 10008})

    press = await discord.click(message, DELETE)

    await discord.wait_for_call("DELETE", "@original$")
    assert not press.follow_ups


async def test_buttons_outlive_the_client_that_made_them(
    discord: FakeDiscord, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(discord, commands):
        _, message = await a_picture(discord, queue)

    async with open_door(discord, commands):
        press = await discord.click(message, AGAIN)
        await press.message
        await discord.click(message, DELETE)
        await discord.bell.until(lambda: message.deleted or None, 5, lambda: "it stands")

    assert len(discord.gateway.identifies) == 2
    assert [job.id for job in jobs(queue)] == [job_id_for("discord", press.id)]


def forged(genuine: str, key: bytes) -> list[str]:
    verb, mac = genuine.split(":")[1], genuine[-8:]
    return [
        genuine[:-1],
        genuine[:-8] + "00000000",
        genuine.replace(f":{verb}:", ":again:" if verb == "delete" else ":delete:"),
        genuine.replace(":0:", ":1:"),
        genuine.upper(),
        genuine + " ",
        f"v1:{verb}:{'a' * 80}:0:{mac}",
        "v0:upscale:1",
        "x",
        button_id(Button("again", "never-was"), key),
    ]


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("verb", ["again", "delete"])
async def test_a_forged_button_does_nothing_but_say_so(discord: FakeDiscord, queue: JobQueue, verb: str) -> None:
    job, message = await a_picture(discord, queue)
    genuine = message.buttons[0 if verb == "again" else 1].custom_id or ""

    for custom_id in forged(genuine, queue.key):
        put_buttons(message, job, queue.key, **{verb: custom_id})
        press = await discord.click(message, custom_id)

        answer = await told(press, message)
        assert answer.content in {INVALID, "I no longer remember this picture. Please ask for it again."}, custom_id
        assert (answer.ephemeral, answer.visible_to) == (True, discord.alice.id)
        assert [one for one in press.messages if not one.deleted and one is not message] == [answer]
    assert len(jobs(queue)) == 1
    assert not message.deleted


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("verb", ["again", "delete"])
async def test_a_button_of_another_channel_is_not_valid(discord: FakeDiscord, queue: JobQueue, verb: str) -> None:
    job, _ = await a_picture(discord, queue, channel=discord.elsewhere)
    other, message = await a_picture(discord, queue)
    stolen = button_id(Button(verb, job.id), queue.key)  # type: ignore[arg-type]
    put_buttons(message, other, queue.key, **{verb: stolen})

    press = await discord.click(message, stolen)

    answer = await told(press, message)
    assert (answer.content, answer.ephemeral) == (INVALID, True)
    assert len(jobs(queue)) == 2


@pytest.mark.usefixtures("door")
async def test_ones_own_button_under_anothers_picture_deletes_nothing(discord: FakeDiscord, queue: JobQueue) -> None:
    own, _ = await a_picture(discord, queue, user_id=discord.bob.id)
    job, message = await a_picture(discord, queue)
    put_buttons(message, job, queue.key, delete=button_id(Button("delete", own.id), queue.key))

    press = await discord.click(message, DELETE, user_id=discord.bob.id)

    assert (await told(press, message)).content == INVALID
    assert not message.deleted
    assert len(jobs(queue)) == 2


@pytest.mark.usefixtures("door")
async def test_a_late_press_does_nothing(
    discord: FakeDiscord, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    _, message = await a_picture(discord, queue)
    discord.lateness_s = 4

    for button in (AGAIN, DELETE):
        await discord.click(message, button)
    await until(lambda: caplog.text.count("10062") == 2)

    assert len(jobs(queue)) == 1
    assert not message.deleted


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("label", ["🎲 Vary", "🔍 Upscale"])
async def test_other_buttons_draw_anew_in_a_new_message(discord: FakeDiscord, queue: JobQueue, label: str) -> None:
    _, message = await a_picture(discord, queue)

    press = await discord.click(message, label, user_id=discord.bob.id)

    answer = await press.message
    new = jobs(queue)[-1]
    assert (answer.content.startswith("Queued. "), answer.ephemeral) == (True, False)
    assert (new.request.seed, new.asker.id) == (5, str(discord.bob.id))
    assert bool(new.request.variation_strength) is ("Vary" in label)
    assert (new.request.hires_fix is not None) is ("Upscale" in label)
    assert await placed(queue, new) == answer.id


@pytest.mark.usefixtures("door")
async def test_a_button_of_one_of_several_pictures_means_that_one(discord: FakeDiscord, queue: JobQueue) -> None:
    job, message = await a_picture(discord, queue, count=4)
    put_buttons(message, job, queue.key, upscale=button_id(Button("upscale", job.id, 2), queue.key))

    press = await discord.click(message, "🔍 Upscale")

    await press.message
    assert (jobs(queue)[-1].request.seed, jobs(queue)[-1].request.batch_size) == (7, 1)


@pytest.mark.usefixtures("door")
async def test_what_can_not_be_drawn_anew_is_told(discord: FakeDiscord, queue: JobQueue) -> None:
    _, message = await a_picture(discord, queue, size="2048x2048")

    press = await discord.click(message, "🔍 Upscale")

    answer = await told(press, message)
    assert answer.content.startswith("This picture is as large as I can draw it")
    assert (answer.ephemeral, len(jobs(queue))) == (True, 1)
