"""What each command does, whichever door it came through: one function and one table row each."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace

from bot.asking.cost import check_cost
from bot.asking.fitting import check_models
from bot.asking.pictures import Attached, Opened, has_pictures, open_pictures
from bot.asking.place import NOWHERE, Catalogs, Place
from bot.asking.redraw import REDRAWN
from bot.asking.sources import Sources
from bot.asking.wish import Form, Wish, make_wish, pictures_of, renamed, resolved
from bot.browsing.browse import Browsing
from bot.browsing.previews import Previews
from bot.options import IMAGINE, MODELS, SHOW, Option
from bot.suggesting import Choice, Suggestions
from easel import words
from easel.buttons import Button, Verb, button_id, read_button
from easel.catalog import Catalog
from easel.errors import BadValue, Expired, NotYours, Untrusted
from easel.job_queue.plans import Plans
from easel.job_queue.queue import JobQueue, JobState
from easel.jobs import Address, Asker, ImageRequest, Job
from easel.settings import Settings


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table: its name is the same on every network."""

    name: str
    help: str
    options: tuple[Option, ...] = ()
    menu: str = ""
    """Its name in the menu of a message, on networks whose messages have one."""


COMMANDS: tuple[Command, ...] = (
    Command("imagine", "Draw a picture from words", IMAGINE, menu="Draw this again"),
    Command("show", "Show how a picture was made", SHOW, menu="Show how it was made"),
    Command("models", "Look through the models that are here", MODELS),
    Command("help", "What I can do and how to ask for it"),
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A queued job and the first words of its placeholder."""

    job: Job
    text: str
    fresh: bool = True
    """False when this id was queued before: its placeholder is written or on its way."""
    notes: tuple[str, ...] = ()
    """What the asker should know besides."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before several pictures are drawn."""

    text: str
    buttons: tuple[tuple[str, str], ...]
    """(label, id)."""
    notes: tuple[str, ...] = ()


def job_id_for(network: str, *parts: object) -> str:
    """Derive a job's id from the message that asked, so that the same message never queues two."""
    return hashlib.sha256(":".join(map(str, (network, *parts))).encode()).hexdigest()[:16]


class Commands:
    """The commands over one queue and the newest catalog; every call blocks for a few round trips at most."""

    def __init__(
        self,
        queue: JobQueue,
        catalog: Callable[[], Catalog],
        *,
        is_admin: Callable[[str], bool] = lambda _: False,
        sources: Sources | None = None,
        warm: Callable[[], Set[str]] = frozenset,
        previews: Previews | None = None,
    ) -> None:
        self.queue = queue
        self.catalog = catalog
        self.is_admin = is_admin
        self._plans = Plans(queue)
        self._sources = sources or Sources.of(Settings())
        self._catalogs = Catalogs()
        self._suggestions = Suggestions(self._sources.styles, warm)
        self.browsing = Browsing(queue, self.catalog_for, warm, previews or Previews(()))

    def catalog_for(self, place: Place) -> Catalog:
        """Return the models that may be used there, from memory."""
        return self._catalogs.of(self.catalog(), place.opened(self._sources.nsfw_chats))

    # -- /imagine and /show

    async def complete(self, wish: Wish, form: Form) -> Wish:
        """Return the wish of a form with its pictures opened; raise `RequestError` or `QueueDown`."""
        return self.wish(await self.open(form), wish.place) if has_pictures(form) else wish

    async def open(self, form: Form) -> dict[str, object]:
        """Return the form with its pictures fetched and opened; raise `RequestError` or `QueueDown`."""
        asked = {
            name: await asyncio.to_thread(self._recorded, value) if isinstance(value, Attached) else value
            for name, value in form.items()
        }
        return await open_pictures(asked, self._sources.private_hosts)

    def wish(self, form: Form, place: Place = NOWHERE) -> Wish:
        """Check a filled form, from memory, and fill every gap; raise `RequestError`."""
        return replace(make_wish(form, self.catalog_for(place), self._sources.styles()), place=place)

    def request(self, form: Form) -> ImageRequest:
        """Return the first request that a form makes, ready to be carried out; raise `RequestError`."""
        return self._resolved(self.wish(form)).requests[0]

    def _resolved(self, wish: Wish) -> Wish:
        return resolved(wish, self._sources.wildcards, self.catalog_for(wish.place))

    def imagine(self, form: Form, *, asker: Asker, reply_to: Address, job_id: str) -> Placed:
        """Queue what the form asks for; raise `RequestError` or `QueueDown` with nothing queued."""
        return self.draw(self.wish(form), asker=asker, reply_to=reply_to, job_id=job_id)

    def draw(self, wish: Wish, *, asker: Asker, reply_to: Address, job_id: str) -> Placed:
        """Queue the one request of a wish; raise `RequestError` or `QueueDown` with nothing queued."""
        (placed,) = self.draw_all(wish, asker=asker, reply_to=reply_to, job_id=job_id)
        return placed

    def draw_all(self, wish: Wish, *, asker: Asker, reply_to: Address, job_id: str) -> tuple[Placed, ...]:
        """Queue every request of a wish; raise `RequestError` with nothing queued, or `QueueDown`."""
        jobs = self._jobs(wish, job_id, asker, reply_to)
        return tuple(replace(self._put(job), notes=wish.notes) for job in jobs)

    def ask_first(self, wish: Wish, *, asker: Asker, reply_to: Address, job_id: str) -> Question:
        """Keep several requests until somebody says yes; raise `RequestError` or `QueueDown`."""
        count = len(wish.requests)
        self._plans.keep(job_id, self._jobs(wish, job_id, asker, reply_to))
        labels: dict[Verb, str] = {"draw": f"Draw {count} pictures", "cancel": "Cancel"}
        buttons = [(label, button_id(Button(verb, job_id), self.queue.key)) for verb, label in labels.items()]
        return Question(f"Your words make {count} different pictures.", tuple(buttons), wish.notes)

    def show(self, form: Form) -> str:
        """Return what the opened picture of a form was made from; raise `BadValue` where it does not tell."""
        picture = form.get(SHOW[0].name)
        if not isinstance(picture, Opened):
            raise BadValue("Please send a picture along, or reply to one.")
        if not picture.infotext:
            raise BadValue(
                "This picture does not tell how it was made. Telegram and others strip that from photos; a file keeps it."
            )
        return picture.infotext

    def _recorded(self, attached: Attached) -> Attached:
        """Return the file with what is known of it, should the buttons under it be ours."""
        for one in attached.buttons:
            try:
                result = self.press(one)[1].result
            except (Expired, Untrusted):
                continue
            if result is not None and result.infotexts:
                return replace(attached, infotext=result.infotexts[0])
        return attached

    def _jobs(self, wish: Wish, job_id: str, asker: Asker, reply_to: Address) -> list[Job]:
        """Make the jobs of a wish and store their pictures; the ids of several are derived from `job_id`."""
        requests = self._resolved(wish).requests
        names = {name: self.queue.keep(png) for name, png in wish.pictures.items()}
        ids = [job_id_for("plan", job_id, n) for n in range(len(requests))] if wish.several else [job_id]
        return [
            Job(id=one, request=renamed(request, names), asker=asker, reply_to=reply_to, asked_at=time.time())
            for one, request in zip(ids, requests, strict=True)
        ]

    def _put(self, job: Job) -> Placed:
        waiting, workers = self.queue.waiting(), self.queue.workers()
        fresh = self.queue.put(job)
        return Placed(job, words.queued(waiting, workers), fresh)

    # -- buttons

    def press(self, button_id: str) -> tuple[Button, JobState]:
        """Read a pressed button; raise `Expired` when it is not ours or its job is forgotten."""
        button = read_button(button_id, self.queue.key)
        return button, self.queue.state(button.job_id)

    def planned(self, button: Button, *, asker: Asker) -> tuple[Job, ...]:
        """Return the jobs that a question was about; raise `Expired`, or `NotYours` for anybody but who asked."""
        jobs = self._plans.jobs(button.job_id)
        if asker.key != jobs[0].asker.key:
            raise NotYours("Only the person who asked for these pictures can answer this.")
        return jobs

    def draw_planned(self, job: Job, *, reply_to: Address) -> Placed:
        """Queue one of the planned jobs, however often it is asked for; raise `QueueDown`."""
        return self._put(job.changed(reply_to=reply_to.model_dump(), asked_at=time.time()))

    def give_up(self, button: Button) -> None:
        """Forget what a question was about."""
        self._plans.forget(button.job_id)

    def again(self, state: JobState, *, asker: Asker, reply_to: Address, job_id: str) -> Placed:
        """Queue the same request with a fresh seed."""
        button = Button("again", state.job.id)
        return self.redraw(button, state, asker=asker, reply_to=reply_to, job_id=job_id)

    def redraw(
        self,
        button: Button,
        state: JobState,
        *,
        asker: Asker,
        reply_to: Address,
        job_id: str,
        place: Place = NOWHERE,
    ) -> Placed:
        """Queue what a button makes of the request behind its picture; raise `RequestError` or `QueueDown`."""
        request = REDRAWN[button.verb](state.job.request, button.n)
        catalog = self.catalog_for(place)
        catalog.checkpoint(request.checkpoint)
        check_models(request, catalog)
        check_cost([request])
        for name in pictures_of(request):
            # Told now, not after a wait in line; and once more in use, it stays.
            self.queue.picture(name)
        return self._put(Job(id=job_id, request=request, asker=asker, reply_to=reply_to, asked_at=time.time()))

    def delete(self, state: JobState, *, asker: Asker, moderator: bool) -> None:
        """Allow the message to be deleted, and stop its job if it is not over; raise `NotYours`."""
        if asker.key != state.job.asker.key and not moderator and not self.is_admin(asker.key):
            raise NotYours("Only the person who asked for this picture, or a moderator, can delete it.")
        self.queue.cancel(state.job.id, reason="Deleted.")

    # -- completion and help

    def suggest(self, option: str, typed: str, form: Mapping[str, object], place: Place = NOWHERE) -> list[Choice]:
        """Return at most 25 completions for an option, from memory."""
        row = next((row for command in COMMANDS for row in command.options if row.name == option), None)
        return [] if row is None else self._suggestions.offer(row, typed, form, self.catalog_for(place))
