"""Hostile words on Discord, over the wire: drawn, or refused with a sentence for their writer alone, and quickly."""

import pytest

from easel.job_queue.queue import JobQueue
from tests.fakes.discord_door import AT_ONCE_S, jobs
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.hostile_wishes import WISHES


@pytest.mark.usefixtures("door")
async def test_every_wish_is_drawn_or_refused_with_its_sentence(discord: FakeDiscord, queue: JobQueue) -> None:
    for text, sentence in WISHES:
        before = len(jobs(queue))
        interaction = await discord.slash("imagine", {"prompt": text})

        message = await interaction.wait_for(lambda one: bool(one.content))
        content = message.content.replace("\\", "")
        assert (sentence or "Queued.") in content, text
        assert message.ephemeral is bool(sentence), text
        assert len(jobs(queue)) == before + (not sentence), text
        assert await interaction.acknowledged < AT_ONCE_S, text
