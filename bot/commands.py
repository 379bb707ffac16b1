"""What each command does, whichever door it came through: one function and one table row each."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.options import IMAGINE, Option
from bot.sizes import parse_size, size_suggestions
from easel import words
from easel.buttons import Button, read_button
from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadPrompt, BadValue, NotYours
from easel.job_queue.queue import JobQueue, JobState
from easel.jobs import Address, Asker, ImageRequest, Job, new_seed
from easel.prompt.text import clean
from easel.samplers import SAMPLERS, SCHEDULES, check_pair, parse_sampler, parse_schedule

MAX_PROMPT = 6000


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table: its name is the same on every network."""

    name: str
    help: str
    options: tuple[Option, ...] = ()


COMMANDS: tuple[Command, ...] = (
    Command("imagine", "Draw a picture from words", IMAGINE),
    Command("help", "What I can do and how to ask for it"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One suggestion of a completion: what is shown and what is sent."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A queued job and the first words of its placeholder."""

    job: Job
    text: str
    fresh: bool = True
    """False when this id was queued before: its placeholder is written or on its way."""


def job_id_for(network: str, *parts: object) -> str:
    """Derive a job's id from the message that asked, so that the same message never queues two."""
    return hashlib.sha256(":".join(map(str, (network, *parts))).encode()).hexdigest()[:16]


class Commands:
    """The commands over one queue and the newest catalog; every call blocks for a few round trips at most."""

    def __init__(
        self, queue: JobQueue, catalog: Callable[[], Catalog], *, is_admin: Callable[[str], bool] = lambda _: False
    ) -> None:
        self.queue = queue
        self.catalog = catalog
        self.is_admin = is_admin

    # -- /imagine

    def request(self, form: Mapping[str, object]) -> ImageRequest:
        """Check a filled form and fill every gap from the checkpoint's card; raise `RequestError`."""
        values = {
            option.name: option.value(form[option.name])
            for option in IMAGINE
            if option.name in form and str(form[option.name]).strip()
        }
        card = self._checkpoint(str(values.get("checkpoint", "")))
        width, height = parse_size(str(values.get("size", "")), card)
        sampler, schedule = self._sampler(values, card)
        seed = int(values.get("seed", -1))
        return ImageRequest(
            prompt=_prompt(values),
            negative_prompt=_negative(values, card),
            checkpoint=card.name,
            width=width,
            height=height,
            steps=int(values.get("steps", card.defaults.steps or 25)),
            cfg_scale=float(values.get("cfg", card.defaults.cfg_scale or 7.0)),
            sampler=sampler,
            schedule=schedule,
            seed=new_seed() if seed == -1 else seed,
            batch_size=int(values.get("count", 1)),
            clip_skip=int(values.get("clip_skip", card.defaults.clip_skip or 1)),
            enlarge=card.enlarge,
        )

    def _checkpoint(self, name: str) -> ModelCard:
        catalog = self.catalog()
        return catalog.checkpoint(name) if name else catalog.default_checkpoint

    @staticmethod
    def _sampler(values: Mapping[str, object], card: ModelCard) -> tuple[str, str]:
        if typed := str(values.get("sampler", "")):
            sampler, implied = parse_sampler(typed)
            default = implied or "Automatic"
        else:
            sampler = card.defaults.sampler or "Euler a"
            default = card.defaults.schedule or "Automatic"
        schedule = parse_schedule(str(values["schedule"])) if values.get("schedule") else default
        check_pair(sampler, schedule)
        return sampler, schedule

    def imagine(self, form: Mapping[str, object], *, asker: Asker, reply_to: Address, job_id: str) -> Placed:
        """Queue what the form asks for; raise `RequestError` or `QueueDown` with nothing queued."""
        return self._put(
            Job(id=job_id, request=self.request(form), asker=asker, reply_to=reply_to, asked_at=time.time())
        )

    def _put(self, job: Job) -> Placed:
        waiting, workers = self.queue.waiting(), self.queue.workers()
        fresh = self.queue.put(job)
        return Placed(job, words.queued(waiting, workers), fresh)

    # -- buttons

    def press(self, button_id: str) -> tuple[Button, JobState]:
        """Read a pressed button; raise `Expired` when it is not ours or its job is forgotten."""
        button = read_button(button_id, self.queue.key)
        return button, self.queue.state(button.job_id)

    def again(self, state: JobState, *, asker: Asker, reply_to: Address, job_id: str) -> Placed:
        """Queue the same request with a fresh seed."""
        request = state.job.request.changed(seed=new_seed())
        self.catalog().checkpoint(request.checkpoint)
        return self._put(Job(id=job_id, request=request, asker=asker, reply_to=reply_to, asked_at=time.time()))

    def delete(self, state: JobState, *, asker: Asker, moderator: bool) -> None:
        """Allow the message to be deleted, and stop its job if it is not over; raise `NotYours`."""
        if asker.key != state.job.asker.key and not moderator and not self.is_admin(asker.key):
            raise NotYours("Only the person who asked for this picture, or a moderator, can delete it.")
        self.queue.cancel(state.job.id, reason="Deleted.")

    # -- completion and help

    def suggest(self, option: str, typed: str, form: Mapping[str, object]) -> list[Choice]:
        """Return at most 25 completions for an option, from memory."""
        kind = next((row.suggest for row in IMAGINE if row.name == option), None)
        if kind == "checkpoint":
            cards = self.catalog().search(ModelKind.CHECKPOINT, typed)
            return [Choice(_label(card), card.name) for card in cards]
        names: Mapping[str | None, tuple[str, ...]] = {
            "sampler": tuple(SAMPLERS),
            "schedule": tuple(SCHEDULES),
            "size": self._sizes(form),
        }
        return [Choice(name, name) for name in _matching(names.get(kind, ()), typed)]

    def _sizes(self, form: Mapping[str, object]) -> tuple[str, ...]:
        catalog = self.catalog()
        cards = catalog.search(ModelKind.CHECKPOINT, str(form.get("checkpoint", "")), limit=1)
        return size_suggestions(cards[0] if cards else catalog.default_checkpoint)


def _prompt(values: Mapping[str, object]) -> str:
    prompt = clean(str(values.get("prompt", "")))
    if not prompt.strip():
        raise BadPrompt("Please say what the picture should show, for example `/imagine a red apple`.")
    return _short_enough("prompt", prompt)


def _negative(values: Mapping[str, object], card: ModelCard) -> str:
    return _short_enough("negative", clean(str(values.get("negative", card.defaults.negative_prompt or ""))))


def _short_enough(name: str, text: str) -> str:
    if len(text) > MAX_PROMPT:
        raise BadValue(f"`{name}` has {len(text)} characters; at most {MAX_PROMPT} are possible.")
    return text


def _label(card: ModelCard) -> str:
    return words.cut(card.label if card.label == card.name else f"{card.label} ({card.name})", 100)


def _matching(names: tuple[str, ...], typed: str) -> list[str]:
    wanted = typed.lower().split()
    found = [name for name in names if all(word in name.lower() for word in wanted)]
    return sorted(found, key=lambda name: not name.lower().startswith(typed.lower()))[:25]
