"""The real renderer on tiny models: jobs side by side, their progress, their ends."""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from easel.errors import BadPrompt, BadValue, Expired, UnknownModel
from easel.infotext.text import parse
from easel.jobs import ImageRequest
from easel.library import WatchedLibrary
from easel.settings import Settings
from tests.fakes.workshop import Workshop, asked, difference, mask_of, photo
from worker import diffusers_renderer
from worker.diffusers_renderer import DiffusersRenderer
from worker.renderer import Event, Failed, Finished, Stepped

ROOT = Path(__file__).parents[2]
PATIENCE_S = 110


@pytest.fixture
def renderer(workshop: Workshop) -> Iterator[DiffusersRenderer]:
    made = DiffusersRenderer(workshop.library, device="cpu", fetch=workshop.fetch)
    yield made
    made.close()


def run(
    renderer: DiffusersRenderer, *requests: ImageRequest, watch: Callable[[Event], None] = lambda event: None
) -> list[Finished]:
    """Draw jobs side by side, to the end."""
    for n, request in enumerate(requests):
        renderer.admit(f"job{n}", request)
    finished: dict[str, Finished] = {}
    deadline = time.monotonic() + PATIENCE_S
    while renderer.busy:
        assert time.monotonic() < deadline
        for event in renderer.step():
            watch(event)
            assert not isinstance(event, Failed), event
            if isinstance(event, Finished):
                finished[event.job_id] = event
    return [finished[f"job{n}"] for n in range(len(requests))]


def to_the_end(renderer: DiffusersRenderer) -> list[Event]:
    """Step until nothing is left; return all that was told."""
    events: list[Event] = []
    while renderer.busy:
        events += renderer.step()
    return events


def picture(finished: Finished, n: int = 0) -> Image.Image:
    return Image.open(io.BytesIO(finished.pictures[n]))


def kinds(workshop: Workshop) -> dict[str, ImageRequest]:
    """Return one request of each kind, all for the same checkpoint and size."""
    image, mask = workshop.keep(photo(80, 80)), workshop.keep(mask_of((80, 80), (16, 16, 50, 50)))
    control = {"model": "edges", "image": workshop.keep(photo(seed=8)), "preprocessor": "canny"}
    return {
        "words": asked(sampler="Euler a"),
        "two": asked(batch_size=2, seed=9, sampler="DPM++ 2M"),
        "picture": asked(init_image=image, denoising_strength=0.6, seed=3),
        "mask": asked(init_image=image, mask=mask, seed=4),
        "part": asked(init_image=image, mask=mask, mask_padding=8, seed=5),
        "canvas": asked(init_image=image, canvas={"left": 16, "zoom": 1.5}, seed=6),
        "hires": asked(hires_fix={"scale": 1.5, "upscaler": "Lanczos"}, seed=7),
        "control": asked(control=control, seed=8),
        "tiling": asked(tiling=True, seed=10),
        "plot": asked(plot={"x": {"field": "steps", "values": ["2", "3"]}}, seed=11),
        "upscale": asked(init_image=image, upscale={"scale": 2, "upscaler": "twice"}),
    }


def test_every_kind_of_job_comes_out_mixed_as_it_does_alone(workshop: Workshop, renderer: DiffusersRenderer) -> None:
    requests = kinds(workshop)

    mixed = run(renderer, *requests.values())

    for (name, request), finished in zip(requests.items(), mixed, strict=True):
        (alone,) = run(renderer, request)
        assert len(finished.pictures) == len(alone.pictures)
        for n in range(len(alone.pictures)):
            assert difference(picture(finished, n), picture(alone, n)) <= 1, name
        assert finished.infotexts == alone.infotexts


@pytest.mark.parametrize("kind", ["words", "two", "picture", "mask", "hires", "plot"])
def test_progress_rises_to_its_total(workshop: Workshop, renderer: DiffusersRenderer, kind: str) -> None:
    steps: list[tuple[int, int]] = []

    def note(event: Event) -> None:
        if isinstance(event, Stepped):
            steps.append((event.step, event.total))

    run(renderer, kinds(workshop)[kind], watch=note)

    assert len({total for _, total in steps}) == 1
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize("sampler", ["Heun", "PLMS", "DPM++ SDE", "Euler"])
def test_progress_counts_calls_of_the_unet(renderer: DiffusersRenderer, sampler: str) -> None:
    steps: list[tuple[int, int]] = []

    def note(event: Event) -> None:
        if isinstance(event, Stepped):
            steps.append((event.step, event.total))

    run(renderer, asked(sampler=sampler, steps=3, hires_fix={"denoising_strength": 0.5}), watch=note)

    assert [step for step, _ in steps] == list(range(1, steps[0][1] + 1))


def test_every_picture_tells_its_own_seed(renderer: DiffusersRenderer) -> None:
    plain, varied = run(
        renderer,
        asked(batch_size=2, seed=2**32 - 1, steps=1),
        asked(batch_size=2, seed=7, variation_seed=5, variation_strength=0.2, steps=1),
    )

    seeds = [parse(text).settings for text in (*plain.infotexts, *varied.infotexts)]
    assert [one["Seed"] for one in seeds] == ["4294967295", "0", "7", "7"]
    assert [one.get("Variation seed") for one in seeds] == [None, None, "5", "6"]
    for finished in (plain, varied):
        for data, text in zip(finished.pictures, finished.infotexts, strict=True):
            assert Image.open(io.BytesIO(data)).info["parameters"] == text


def test_a_picture_drawn_from_its_own_infotext_s_seed_is_the_same(renderer: DiffusersRenderer) -> None:
    (both,) = run(renderer, asked(batch_size=2, seed=30))

    (second,) = run(renderer, asked(seed=int(parse(both.infotexts[1]).settings["Seed"])))

    assert difference(picture(both, 1), picture(second)) <= 1


def test_the_infotext_has_the_size_that_was_drawn(workshop: Workshop, renderer: DiffusersRenderer) -> None:
    image = workshop.keep(photo())

    (finished,) = run(renderer, asked(init_image=image, canvas={"left": 64}, enlarge=2, steps=1))

    assert parse(finished.infotexts[0]).settings["Size"] == "128x64"
    assert picture(finished).size == (256, 128)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (asked(checkpoint="tinny"), UnknownModel),
        (asked(hires_fix={"scale": 4}, width=1024), BadValue),
        (asked(plot={"x": {"field": "steps", "values": ["0"]}}), BadValue),
    ],
)
def test_what_can_not_be_is_not_taken_in(
    renderer: DiffusersRenderer, request_: ImageRequest, error: type[Exception]
) -> None:
    with pytest.raises(error):
        renderer.admit("job0", request_)

    assert not renderer.busy


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"init_image": "gone"}, Expired),
        ({"checkpoint": "painter"}, BadValue),
        ({"prompt": " BREAK ".join(["a"] * 30)}, BadPrompt),
        ({"clip_skip": 12}, BadValue),
        ({"mask": "m"}, BadValue),
        ({"hires_fix": {"upscaler": "ultra"}}, UnknownModel),
    ],
)
def test_a_job_that_fails_says_why_and_its_neighbour_goes_on(
    workshop: Workshop, renderer: DiffusersRenderer, changes: dict[str, Any], error: type[Exception]
) -> None:
    renderer.admit("bad", asked(**changes))
    renderer.admit("good", asked())

    ends = {event.job_id: event for event in to_the_end(renderer) if not isinstance(event, Stepped)}

    bad = ends["bad"]
    assert isinstance(bad, Failed)
    assert isinstance(bad.error, error)
    assert isinstance(ends["good"], Finished)


def test_an_unforeseen_fault_is_logged_and_told_without_its_words(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    def fetch(name: str) -> bytes:
        raise ZeroDivisionError("secret")

    renderer = DiffusersRenderer(workshop.library, device="cpu", fetch=fetch)
    renderer.admit("job7", asked(init_image="x"))

    with caplog.at_level(logging.ERROR):
        events = to_the_end(renderer)
    renderer.close()

    (failed,) = events
    assert isinstance(failed, Failed)
    assert "job7" in str(failed.error)
    assert "secret" not in str(failed.error)
    assert "ZeroDivisionError" in caplog.text


class Gate:
    """A result store whose pictures wait until they are let through."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self.reached, self.open = threading.Event(), threading.Event()

    def fetch(self, name: str) -> bytes:
        self.reached.set()
        assert self.open.wait(PATIENCE_S)
        return self._workshop.fetch(name)


def test_a_job_can_be_cancelled_before_its_picture_is_read(workshop: Workshop) -> None:
    gate = Gate(workshop)
    renderer = DiffusersRenderer(workshop.library, device="cpu", fetch=gate.fetch)
    renderer.admit("job0", asked(init_image=workshop.keep(photo())))
    assert gate.reached.wait(PATIENCE_S)

    renderer.cancel("job0")

    assert not renderer.busy
    gate.open.set()
    renderer.close()
    assert renderer.step() == []


@pytest.mark.parametrize("after", [1, 4, 6])
def test_a_job_can_be_cancelled_at_any_step_of_any_pass(renderer: DiffusersRenderer, after: int) -> None:
    renderer.admit("job0", asked(steps=4, hires_fix={"denoising_strength": 0.5}))
    renderer.admit("other", asked(steps=6, seed=5))
    ended: list[Event] = []
    steps = 0

    while renderer.busy:
        for event in renderer.step():
            steps = max(steps, event.step) if isinstance(event, Stepped) and event.job_id == "job0" else steps
            ended += [] if isinstance(event, Stepped) else [event]
        if steps >= after:
            renderer.cancel("job0")

    assert [event.job_id for event in ended] == ["other"]
    (alone,) = run(renderer, asked(steps=6, seed=5))
    assert isinstance(ended[0], Finished)
    assert difference(picture(ended[0]), picture(alone)) <= 1


def test_a_job_can_be_cancelled_while_it_is_developed(renderer: DiffusersRenderer) -> None:
    renderer.admit("job0", asked(steps=1, width=256, height=256, enlarge=8))
    # Writing four megapixels takes longer than a step waits for it.
    while not any(isinstance(event, Stepped) for event in renderer.step()):
        assert renderer.busy

    renderer.cancel("job0")

    assert not renderer.busy
    renderer.close()
    assert renderer.step() == []


def test_a_cancelled_plot_leaves_nothing_in_the_engine(renderer: DiffusersRenderer) -> None:
    renderer.admit("job0", asked(plot={"x": {"field": "seed", "values": ["1", "2", "3"]}}, steps=9))
    while not any(isinstance(event, Stepped) for event in renderer.step()):
        assert renderer.busy

    renderer.cancel("job0")
    renderer.cancel("unknown")

    assert renderer.step() == []
    assert renderer.room == 1


def test_an_id_can_be_used_again_after_it_was_cancelled(renderer: DiffusersRenderer) -> None:
    renderer.admit("job0", asked(steps=8))
    renderer.step()
    renderer.cancel("job0")

    assert len(run(renderer, asked(steps=2))) == 1


def test_room_is_told_once_the_first_job_is_in_the_engine(renderer: DiffusersRenderer) -> None:
    assert renderer.room == 1

    renderer.admit("job0", asked(steps=30))

    assert renderer.room == 0
    assert renderer.batch_key == asked().batch_key
    while not any(isinstance(event, Stepped) for event in renderer.step()):
        assert renderer.busy
    # The engine starts with one picture a call.
    assert renderer.room == 0


def test_nothing_joins_a_plot_or_an_enlarging(workshop: Workshop, renderer: DiffusersRenderer) -> None:
    renderer.admit("job0", asked(plot={"x": {"field": "seed", "values": ["1"]}}, steps=30))
    while not any(isinstance(event, Stepped) for event in renderer.step()):
        assert renderer.busy
    assert renderer.room == 0
    renderer.cancel("job0")

    renderer.admit("job1", asked(init_image=workshop.keep(photo()), upscale={}))

    assert renderer.room == 0


def test_a_step_now_and_then_shows_a_preview(
    workshop: Workshop, renderer: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffusers_renderer, "PREVIEW_S", 0.0)
    previews: list[bytes] = []

    def note(event: Event) -> None:
        if isinstance(event, Stepped):
            previews.append(event.preview)

    run(renderer, asked(plot={"x": {"field": "seed", "values": ["1", "2"]}}, steps=3), watch=note)

    shown = [Image.open(io.BytesIO(one)) for one in previews if one]
    assert shown
    # At first there is one picture, then there are two.
    assert {(one.format, one.size) for one in shown} == {("JPEG", (256, 256)), ("JPEG", (256, 128))}


def test_without_a_result_store_pictures_are_gone(workshop: Workshop) -> None:
    renderer = DiffusersRenderer(workshop.library, device="cpu")
    renderer.admit("job0", asked(init_image="x"))

    events = to_the_end(renderer)
    renderer.close()

    assert isinstance(events[0], Failed)
    assert isinstance(events[0].error, Expired)


def test_a_lost_device_ends_the_step(workshop: Workshop) -> None:
    def fetch(name: str) -> bytes:
        raise torch.AcceleratorError("lost")

    renderer = DiffusersRenderer(workshop.library, device="cpu", fetch=fetch)
    renderer.admit("job0", asked(init_image="x"))

    with pytest.raises(torch.AcceleratorError):
        to_the_end(renderer)
    renderer.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiffusersRenderer]:
    """The checkpoint that comes with Easel."""
    data = tmp_path_factory.mktemp("data")
    settings = Settings(models_dir=(ROOT / "models",), models_file=ROOT / "models.yaml", data_dir=data)
    apple = io.BytesIO()
    red_square().save(apple, "PNG")
    made = DiffusersRenderer(WatchedLibrary(settings), device="cpu", fetch=lambda name: apple.getvalue())
    yield made
    made.close()


def red_square() -> Image.Image:
    image = Image.new("RGB", (128, 128), "white")
    image.paste((220, 30, 30), (32, 32, 96, 96))
    return image


def test_the_demo_checkpoint_draws_over_a_picture(demo: DiffusersRenderer) -> None:
    request = asked(
        checkpoint="easel-demo", width=128, height=128, prompt="a green apple", steps=8, init_image="x", enlarge=4
    )

    near, far = run(demo, request.changed(denoising_strength=0.2), request.changed(denoising_strength=0.9))

    original = red_square().resize((512, 512))
    assert picture(near).size == (512, 512)
    assert mean_difference(picture(near), original) < 15
    assert mean_difference(picture(far), original) > mean_difference(picture(near), original)


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    pairs = zip(one.convert("L").resize((16, 16)).tobytes(), other.convert("L").resize((16, 16)).tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / 256
