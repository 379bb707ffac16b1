"""Hostile words on Telegram, over the wire: drawn, or refused with one sentence."""

import ast
import re
from pathlib import Path

import pytest

import bot.telegram_bot
from bot.options import IMAGINE
from easel.job_queue.queue import JobQueue
from tests.fakes.hostile_wishes import WISHES
from tests.fakes.telegram_door import ask, jobs
from tests.fakes.telegram_server import FakeTelegram


@pytest.mark.usefixtures("door")
async def test_every_wish_is_drawn_or_refused_with_its_sentence(telegram: FakeTelegram, queue: JobQueue) -> None:
    for text, sentence in WISHES:
        before = len(jobs(queue))

        answer = await ask(telegram, f"/imagine {text}")

        assert (sentence or "Queued.") in str(answer.text), text
        assert len(jobs(queue)) == before + (not sentence), text


def test_no_option_is_named_outside_the_table() -> None:
    names = {option.name for option in IMAGINE}
    found = []
    for file in Path(str(bot.telegram_bot.__file__)).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found += [(file.name, text) for text in texts if names & set(re.findall(r"\w+", text))]

    assert found == []
