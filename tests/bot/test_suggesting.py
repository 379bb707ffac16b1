"""Completion of networks: the last of a list, what fits first, and what is kept for others never."""

import pytest

from bot.asking.place import NOWHERE, OWN, Place
from bot.commands import Commands
from easel.catalog import Base, Catalog, ModelKind
from easel.job_queue.connect import impatient
from easel.job_queue.queue import JobQueue
from tests.fakes.wardrobe import KEPT_CHAT, card, wardrobe


def commands_on(catalog: Catalog, *warm: str) -> Commands:
    # Whoever asked this Redis would raise.
    queue = JobQueue(impatient("redis://127.0.0.1:9"), key=b"k" * 32)
    return Commands(queue, lambda: catalog, warm=lambda: frozenset(warm))


def offered(option: str, typed: str, form: dict[str, object] | None = None, place: Place = NOWHERE) -> list[str]:
    return [one.value for one in commands_on(wardrobe()).suggest(option, typed, form or {}, place)]


@pytest.mark.parametrize(
    ("option", "typed", "first"),
    [
        ("lora", "add", "add_detail"),
        ("lora", "film:0.5, add", "film:0.5, add_detail"),
        ("lora", "film:0.5,add:0.7", "film:0.5, add_detail:0.7"),
        ("lora", "film , tweaker:-0.5:1", "film, add_detail:-0.5:1"),
        ("lora", "film:", "film"),
        ("embedding", "-bad", "-bad-hands"),
        ("embedding", "x, -ba", "x, -bad-hands"),
        ("hypernetwork", "go", "gold"),
        ("vae", "cle", "clear"),
        ("vae", "", "automatic"),
        ("kind", "lo", "lora"),
        ("search", "add", "add_detail"),
    ],
)
def test_the_last_of_a_list_is_completed(option: str, typed: str, first: str) -> None:
    assert offered(option, typed)[0] == first


def test_what_was_named_already_or_has_no_file_is_not_offered() -> None:
    found = offered("lora", "film:0.5, ")

    assert "film:0.5, film" not in found
    assert "film:0.5, gone" not in found
    assert "film:0.5, add_detail" in found


def test_what_fits_the_checkpoint_comes_first() -> None:
    assert offered("lora", "", {"checkpoint": "dreamy-xl"})[0] == "xl-film"
    assert offered("lora", "")[-1] == "xl-film"
    (label,) = [one.label for one in commands_on(wardrobe()).suggest("lora", "xl", {})]
    assert label == "xl-film · only for SDXL"


def test_trigger_words_are_shown_where_there_is_room() -> None:
    (choice,) = commands_on(wardrobe()).suggest("lora", "film:0.5, add", {})

    assert choice.label == "… Detail Tweaker (add_detail) · detailed"


def test_the_warm_come_first() -> None:
    commands = commands_on(wardrobe(), "hills")

    assert commands.suggest("checkpoint", "", {})[0].value == "hills"


@pytest.mark.parametrize(
    ("option", "name", "place"),
    [
        ("lora", "secret", Place("discord", frozenset({KEPT_CHAT}))),
        ("lora", "members", OWN),
        ("checkpoint", "bare", Place("discord", nsfw=True)),
        ("search", "secret", OWN),
    ],
)
def test_what_is_kept_is_offered_only_where_it_may_be_used(option: str, name: str, place: Place) -> None:
    assert name in offered(option, name, place=place)
    assert name not in offered(option, name)


def test_a_choice_never_grows_beyond_what_discord_takes() -> None:
    long = "-".join(["many"] * 19)
    catalog = wardrobe(*(card(f"{long}{n}", ModelKind.LORA, Base.SD15, trigger_words=("w" * 90,)) for n in range(60)))
    commands = commands_on(catalog)

    short, grown = commands.suggest("lora", "many", {}), commands.suggest("lora", "film:0.55, many", {})

    assert len(short) == 25
    assert max(len(one.label) for one in short) <= 100
    assert grown == []
