import asyncio
from collections.abc import Iterator

from bot.warmth import Warmth
from easel.errors import QueueDown


async def test_what_is_warm_is_asked_in_the_background_and_told_from_memory() -> None:
    answers: Iterator[list[str]] = iter([["coast"]])
    warmth = Warmth(lambda: next(answers))

    before = warmth.names()
    watch = asyncio.create_task(warmth.watch())
    async with asyncio.timeout(5):
        while not warmth.names():
            await asyncio.sleep(0.005)
    watch.cancel()

    assert (before, warmth.names()) == (frozenset(), {"coast"})


def test_a_redis_that_is_away_has_nothing_at_hand() -> None:
    def away() -> list[str]:
        raise QueueDown

    warmth = Warmth(away)
    warmth.refresh()

    assert warmth.names() == frozenset()
