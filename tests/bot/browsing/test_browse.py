"""The pages of models, and the buttons that lead from one to another."""

import re

import pytest

from bot.asking.place import OWN, Place
from bot.browsing.browse import PAGE, Browsing, Page
from bot.browsing.previews import Previews
from bot.commands import Commands
from bot.options import MODELS
from easel.buttons import Button, read_button
from easel.catalog import Base, Catalog, Defaults, ModelKind
from easel.errors import BadValue, Expired, QueueDown
from easel.job_queue.connect import impatient
from easel.job_queue.queue import JobQueue
from tests.fakes.wardrobe import card, wardrobe

SEARCH, KIND = (option.name for option in MODELS)


def many(count: int = 40) -> Catalog:
    return wardrobe(*(card(f"style-{n:02}", ModelKind.LORA, Base.SDXL, file_size=144_000_000) for n in range(count)))


def browsing(queue: JobQueue, catalog: Catalog, *warm: str) -> Browsing:
    return Commands(queue, lambda: catalog, warm=lambda: frozenset(warm)).browsing


def follow(queue: JobQueue, one: Browsing, page: Page, label: str, place: Place = OWN) -> Page:
    (found,) = [data for row in page.buttons for shown, data in row if shown == label]
    return one.press(read_button(found, queue.key), place)


def labels(page: Page) -> list[list[str]]:
    return [[label for label, _ in row] for row in page.buttons]


def test_a_page_says_of_each_what_there_is_to_know(queue: JobQueue) -> None:
    page = browsing(queue, many(), "hills").open({KIND: "checkpoints"}, OWN)

    assert page.text.splitlines()[:5] == [
        "5 checkpoints",
        "1. hills",
        "   checkpoint · SD 1.5 · warm",
        "2. bare",
        "   checkpoint · SD 1.5 · nsfw",
    ]
    assert "checkpoint · SD 1.5 · inpainting" in page.text
    lora = browsing(queue, many()).open({SEARCH: "style", KIND: "LoRA"}, OWN)
    assert lora.text.splitlines()[:3] == [
        "40 LoRAs for `style`, page 1 of 7",
        "1. style-00",
        "   LoRA · SDXL · 144 MB",
    ]


def test_buttons_turn_filter_and_pick(queue: JobQueue) -> None:
    one = browsing(queue, many())
    first = one.open({SEARCH: "style"}, OWN)

    second = follow(queue, one, first, "▶")
    picked = follow(queue, one, second, "2")
    back = follow(queue, one, picked, "◀ Back")
    loras = follow(queue, one, back, "LoRAs")

    assert labels(first) == [["1", "2", "3"], ["4", "5", "6"], ["▶"], *labels(first)[3:]]
    assert [card.name for card in second.cards] == [f"style-{n:02}" for n in range(PAGE, 2 * PAGE)]
    assert (picked.one, picked.cards[0].name) == (True, "style-07")
    assert back == second
    assert loras.text.startswith("40 LoRAs for `style`, page 1 of 7")


def test_ids_are_alike_nowhere_and_short(queue: JobQueue) -> None:
    one = browsing(queue, many())
    pages = [one.open({SEARCH: text}, OWN) for text in ("", "style", "film")]
    pages += [follow(queue, one, pages[0], "▶"), follow(queue, one, pages[0], "LoRAs")]

    for page in pages:
        ids = [data for row in page.buttons for _, data in row]
        assert len(ids) == len(set(ids))
        assert max(map(len, ids)) <= 40
        assert len(page.buttons) <= 5
        assert max(len(row) for row in page.buttons) <= 5


def test_buttons_are_good_after_a_restart(queue: JobQueue) -> None:
    first = browsing(queue, many()).open({SEARCH: "style"}, OWN)

    restarted = browsing(queue, many())

    assert follow(queue, restarted, first, "▶").cards[0].name == "style-06"


def test_a_search_that_is_forgotten_or_forged_is_refused(queue: JobQueue) -> None:
    one = browsing(queue, many())
    page = one.open({SEARCH: "style"}, OWN)
    (key,) = queue.connection.keys("easel:search:*")
    queue.connection.delete(key)

    with pytest.raises(Expired, match="no longer remember what was searched for"):
        follow(queue, one, page, "▶")
    for where in ("abcd", "9______000", "0______xyz"):
        with pytest.raises(Expired, match="not valid any more"):
            one.press(Button("models", where), OWN)


def test_a_picked_model_shows_all_about_it(queue: JobQueue) -> None:
    catalog = wardrobe(
        card(
            "sunny",
            ModelKind.CHECKPOINT,
            title="Sunny Days",
            file_size=6_500_000_000,
            family="pony",
            trigger_words=("sun", "day"),
            defaults=Defaults(sampler="DPM++ 2M", schedule="Karras", steps=25, cfg_scale=4.5, width=768, height=512),
            aliases=("sd",),
            source="https://civitai.com/models/1",
            notes="Likes long prompts.",
        )
    )

    page = browsing(queue, catalog).open({SEARCH: "sunny"}, OWN)

    assert page.text.splitlines() == [
        "Sunny Days (sunny)",
        "checkpoint · SD 1.5 · pony · 6.5 GB",
        "Write it as --checkpoint sunny",
        "Trigger words: sun, day",
        "Drawn with: DPM++ 2M Karras, 25 steps, cfg 4.5, 768×512",
        "Also called: sd",
        "From: https://civitai.com/models/1",
        "Likes long prompts.",
    ]
    assert browsing(queue, catalog).open({SEARCH: "film"}, OWN).text.splitlines()[2] == "Write it as <lora:film:1>"


def test_words_are_looked_for_in_trigger_words_and_else_what_is_alike(queue: JobQueue) -> None:
    one = browsing(queue, wardrobe())

    assert [card.name for card in one.open({SEARCH: "detailed"}, OWN).cards] == ["add_detail"]
    assert "add_detail" in [card.name for card in one.open({SEARCH: "ad detial"}, OWN).cards]
    assert one.open({SEARCH: "qqqq"}, OWN).text == "0 models for `qqqq`"


def test_an_unknown_kind_names_those_there_are(queue: JobQueue) -> None:
    with pytest.raises(BadValue, match=r"no kind of model called `dream`. There are: checkpoint, lora"):
        browsing(queue, wardrobe()).open({KIND: "dream"}, OWN)


def test_what_is_kept_is_not_seen_and_not_picked(queue: JobQueue) -> None:
    one, elsewhere = browsing(queue, wardrobe()), Place("telegram", frozenset({"5"}))
    mine = one.open({SEARCH: "secret"}, OWN)
    found = one.open({SEARCH: "se", KIND: "lora"}, OWN)

    assert mine.one
    assert "secret" not in one.open({SEARCH: "secret"}, elsewhere).text.partition("\n")[2]
    with pytest.raises(Expired, match="not here any more"):
        follow(queue, one, found, "1", elsewhere)


def test_a_full_page_fits_under_a_picture(queue: JobQueue) -> None:
    cards = [
        card(f"🐈{'n' * 150}{n}", ModelKind.LORA, title="🐈" * 200, trigger_words=("w" * 200,), notes="x" * 5000)
        for n in range(9)
    ]
    one = browsing(queue, Catalog(cards))

    page = one.open({SEARCH: "n" * 99}, OWN)
    picked = follow(queue, one, page, "3")

    for text in (page.text, picked.text):
        assert len(text.encode("utf-16-le")) // 2 <= 1000
    assert len(re.findall(r"^\d\. ", page.text, re.MULTILINE)) == PAGE


def test_redis_away_is_told(queue: JobQueue) -> None:
    away = Browsing(
        JobQueue(impatient("redis://127.0.0.1:1"), key=queue.key), lambda _: wardrobe(), frozenset, Previews(())
    )

    assert away.open({}, OWN).cards
    with pytest.raises(QueueDown):
        away.open({SEARCH: "film"}, OWN)
