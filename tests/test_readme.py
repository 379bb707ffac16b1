"""What the documents say of the program is what the program says of itself."""

import re
from pathlib import Path

import pytest

from bot.cli import app
from bot.commands import COMMANDS
from bot.discord_bot.registration import invite_url
from bot.flags import described
from bot.options import IMAGINE, Option
from easel.settings import Settings, example

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SIDES = ("easel", "bot", "worker")


def table(heading: str) -> str:
    """Return the rows of the first table whose head begins with `heading`, one a line."""
    lines = README.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    end = next(n for n, line in enumerate(lines[start:], start) if not line.startswith("|"))
    return "\n".join(lines[start + 2 : end])


def row(option: Option) -> str:
    first, *others = (f"`--{one}`" if len(one) > 1 else f"`-{one}`" for one in (option.name, *option.flags))
    shown = "the words" if option.required else first
    return f"| {shown} | {' '.join(others)} | {described(option)} | {'flag' if option.rare else 'field'} |"


def test_the_first_screen_has_a_picture_and_the_two_commands() -> None:
    screen = "\n".join(README.splitlines()[:30])

    assert re.search(r"!\[[^]]+\]\(docs/images/[^)]+\.png\)", screen)
    assert "make demo\nmake test\n" in screen


def test_every_option_is_listed_as_the_code_has_it() -> None:
    assert table("option") == "\n".join(map(row, IMAGINE))


def test_every_command_is_listed_as_the_code_has_it() -> None:
    chat = [f"| `/{command.name}` | {command.help} |" for command in COMMANDS]
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    inner = {f"{name} {command.name}" for name, one in groups.items() if one for command in one.registered_commands}

    assert table("command") == "\n".join(chat)
    assert set(re.findall(r"`easel ([a-z]+)", README)) == names | groups.keys()
    assert set(re.findall(r"`easel (models [a-z]+)", README)) == inner


def test_the_invite_link_asks_for_what_the_code_asks_for() -> None:
    asked = invite_url(0).partition("permissions=")[2].partition("&")[0]

    assert asked in README
    assert set(re.findall(r"permissions=([0-9]+)", README)) == {asked}


def test_every_setting_that_is_named_is_one() -> None:
    known = set(re.findall(r"^#?([A-Z_]+)=", example(), re.MULTILINE))

    assert len(known) == len(Settings.model_fields)
    for document in DOCUMENTS:
        named = set(re.findall(r"\b(?:EASEL|DISCORD|TELEGRAM|REDIS)_[A-Z_]+\b", document.read_text()))
        assert {one.removesuffix("_FILE") for one in named - known} - known <= {"REDIS_PASSWORD"}, document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    text = document.read_text()
    links = {link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link}
    named = set(re.findall(rf"`((?:{'|'.join(SIDES)}|tests|docs)/[A-Za-z0-9_./-]*)`", text))

    assert sorted(link for link in links if not (document.parent / link).exists()) == []
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_room_stands_in_the_architecture() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = [room for side in SIDES for room in sorted((ROOT / side).iterdir()) if (room / "__init__.py").exists()]

    assert [str(room.relative_to(ROOT)) for room in rooms if f"`{room.relative_to(ROOT)}/`" not in text] == []
