import pytest

from bot.commands import Commands, job_id_for
from easel.buttons import Button, button_id
from easel.catalog import Base, Catalog, Defaults, ModelCard, ModelKind
from easel.errors import BadPrompt, BadValue, Expired, NotYours, QueueDown, UnknownModel, UnknownSampler
from easel.job_queue.connect import impatient
from easel.job_queue.queue import JobQueue, Status
from easel.jobs import Asker, TelegramAddress

ME = Asker(network="telegram", id="7")
HERE = TelegramAddress(chat_id=5)
CATALOG = Catalog(
    [
        ModelCard(
            name="easel-demo",
            title="Easel demo",
            kind=ModelKind.CHECKPOINT,
            base=Base.SD15,
            enlarge=4,
            defaults=Defaults(width=128, height=128, steps=20, cfg_scale=4, sampler="DPM++ 2M", schedule="SGM Uniform"),
        ),
        ModelCard(name="dreamy-xl", kind=ModelKind.CHECKPOINT, base=Base.SDXL),
        ModelCard(name="sketch", kind=ModelKind.LORA, base=Base.SD15),
    ],
    default="easel-demo",
)


@pytest.fixture
def commands(queue: JobQueue) -> Commands:
    return Commands(queue, lambda: CATALOG)


def test_every_default_is_filled_from_the_checkpoints_card(commands: Commands) -> None:
    request = commands.request({"prompt": " a red apple "})

    assert request.prompt == "a red apple"
    assert (request.checkpoint, request.width, request.height) == ("easel-demo", 128, 128)
    assert (request.steps, request.cfg_scale, request.sampler, request.schedule) == (20, 4, "DPM++ 2M", "SGM Uniform")
    assert request.enlarge == 4


def test_what_is_typed_wins_over_the_card(commands: Commands) -> None:
    request = commands.request(
        {"prompt": "a", "steps": "5", "cfg": "2,5", "seed": "9", "size": "256x192", "sampler": "euler a", "count": "3"}
    )

    assert (request.steps, request.cfg_scale, request.seed, request.batch_size) == (5, 2.5, 9, 3)
    assert (request.width, request.height, request.sampler, request.schedule) == (256, 192, "Euler a", "Automatic")


def test_a_joined_sampler_name_sets_the_schedule_too(commands: Commands) -> None:
    request = commands.request({"prompt": "a", "sampler": "DPM++ 2M Karras"})

    assert (request.sampler, request.schedule) == ("DPM++ 2M", "Karras")


def test_a_base_without_a_size_of_its_own_uses_its_native_one(commands: Commands) -> None:
    request = commands.request({"prompt": "a", "checkpoint": "dreamy-xl", "size": "3:2"})

    assert (request.width, request.height) == (1280, 832)


def test_two_requests_draw_two_seeds(commands: Commands) -> None:
    assert commands.request({"prompt": "a"}).seed != commands.request({"prompt": "a", "seed": "-1"}).seed


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        ({"prompt": "  "}, BadPrompt, "Please say what the picture should show"),
        ({"prompt": "a" * 6001}, (BadPrompt, BadValue), "6000"),
        ({"prompt": "a", "checkpoint": "easel-dem"}, UnknownModel, "Did you mean `easel-demo`"),
        ({"prompt": "a", "checkpoint": "sketch"}, UnknownModel, "no checkpoint called `sketch`"),
        ({"prompt": "a", "sampler": "Eular a"}, UnknownSampler, "Did you mean"),
        ({"prompt": "a", "size": "7"}, BadValue, "64 to 2048"),
        ({"prompt": "a", "size": "1:100"}, BadValue, "between 1:4 and 4:1"),
        ({"prompt": "a", "size": "big"}, BadValue, "512x768 or 3:2"),
    ],
)
def test_bad_input_is_refused_with_a_sentence_and_nothing_is_queued(
    commands: Commands, queue: JobQueue, form: dict[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        commands.imagine(form, asker=ME, reply_to=HERE, job_id="job12345")

    assert queue.waiting() == 0


def test_the_placeholder_says_that_no_worker_runs(commands: Commands) -> None:
    placed = commands.imagine({"prompt": "a"}, asker=ME, reply_to=HERE, job_id="job12345")

    assert "No worker is running yet" in placed.text


def test_the_same_message_is_queued_once(commands: Commands, queue: JobQueue) -> None:
    for _ in range(2):
        commands.imagine({"prompt": "a"}, asker=ME, reply_to=HERE, job_id=job_id_for("telegram", 5, 1))

    assert queue.waiting() == 1


def test_again_draws_another_seed_with_the_same_settings(commands: Commands, queue: JobQueue) -> None:
    first = commands.imagine({"prompt": "a", "seed": "1"}, asker=ME, reply_to=HERE, job_id="job12345").job
    button, state = commands.press(button_id(Button("again", first.id), queue.key))

    second = commands.again(state, asker=ME, reply_to=HERE, job_id="job67890").job

    assert button.verb == "again"
    assert second.request.changed(seed=1) == first.request
    assert second.request.seed != 1


def test_only_the_asker_an_admin_or_a_moderator_deletes(queue: JobQueue) -> None:
    commands = Commands(queue, lambda: CATALOG, is_admin=lambda key: key == "telegram:9")
    state = queue.state(commands.imagine({"prompt": "a"}, asker=ME, reply_to=HERE, job_id="job12345").job.id)
    stranger, admin = (Asker(network="telegram", id=number) for number in ("8", "9"))

    with pytest.raises(NotYours, match="Only the person who asked"):
        commands.delete(state, asker=stranger, moderator=False)
    assert queue.state("job12345").status is Status.QUEUED
    commands.delete(state, asker=stranger, moderator=True)
    commands.delete(state, asker=admin, moderator=False)
    commands.delete(state, asker=ME, moderator=False)

    assert queue.state("job12345").status is Status.OVER


@pytest.mark.parametrize(
    "tampered", ["", "x", "v1:again:job12345:0:00000000", "v1:delete:job12345:0:" + "f" * 200, "v1:\n"]
)
def test_a_button_that_is_not_ours_does_nothing(commands: Commands, tampered: str) -> None:
    with pytest.raises(Expired, match="not valid any more"):
        commands.press(tampered)


def test_a_button_of_a_forgotten_job_says_so(commands: Commands, queue: JobQueue) -> None:
    with pytest.raises(Expired, match="no longer remember"):
        commands.press(button_id(Button("again", "job99999"), queue.key))


def test_redis_away_is_told_and_nothing_is_half_queued() -> None:
    commands = Commands(JobQueue(impatient("redis://127.0.0.1:1"), key=b"k"), lambda: CATALOG)

    with pytest.raises(QueueDown, match="try again in a minute"):
        commands.imagine({"prompt": "a"}, asker=ME, reply_to=HERE, job_id="job12345")


def test_completion_offers_what_fits(commands: Commands) -> None:
    assert [choice.value for choice in commands.suggest("checkpoint", "dem", {})] == ["easel-demo"]
    assert commands.suggest("sampler", "dpm++ 2m", {})[0].value == "DPM++ 2M"
    assert "Karras" in [choice.value for choice in commands.suggest("schedule", "", {})]
    assert commands.suggest("size", "", {"checkpoint": "dreamy-xl"})[0].value == "1024x1024"
    assert commands.suggest("prompt", "a", {}) == []
