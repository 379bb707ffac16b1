import pytest

from benchmarks.cache_hits import GOALS, SLOTS, best_hits, kept_hits, trace
from worker.checkpoints.keeping import FIXED, MOST_REMEMBERED, Keeping


def used(*names: str, half_life: float = 600) -> Keeping:
    keeping = Keeping(half_life=half_life)
    for name in names:
        keeping.used(name)
    return keeping


@pytest.mark.parametrize("exponent", GOALS)
def test_hits_come_close_to_those_of_whoever_knows_the_future(exponent: float) -> None:
    asked = [trace(exponent, 10_000, seed) for seed in range(4)]

    shares = {
        slots: sum(kept_hits(one, slots) for one in asked) / sum(best_hits(one, slots) for one in asked)
        for slots in SLOTS
    }

    assert {slots: share for slots, share in shares.items() if share < GOALS[exponent]} == {}


def test_knowing_the_line_makes_more_hits_than_guessing() -> None:
    asked = trace(1.0, 4000, 3)

    assert kept_hits(asked, 2, ahead=4) > 1.05 * kept_hits(asked, 2)


def test_what_knows_the_future_is_never_beaten() -> None:
    asked = trace(1.0, 3000, 4)

    assert all(kept_hits(asked, slots, ahead=4) < best_hits(asked, slots) < 1 for slots in SLOTS)


def test_what_is_asked_for_most_often_stays() -> None:
    keeping = used("often", "seldom", "often", "last")

    assert keeping.leaving({"often": 10, "seldom": 10, "last": 10}, 20) == ["seldom"]
    assert keeping.leaving({"often": 10, "seldom": 10, "last": 10}, 10) == ["seldom", "last"]


def test_a_fashion_passes() -> None:
    keeping = used(*["old"] * 50, *["new"] * 20, half_life=10)

    assert keeping.leaving({"old": 1, "new": 1}, 1) == ["old"]
    assert keeping.frequency("new") == pytest.approx(sum(0.5 ** (n / 10) for n in range(20)))


def test_being_used_counts_while_it_is_not_kept() -> None:
    keeping = used("stranger", "stranger", "kept")

    assert keeping.leaving({"stranger": 1, "kept": 1}, 1) == ["kept"]


def test_of_two_used_alike_the_larger_leaves() -> None:
    keeping = used("large", "small", "large", "small")

    assert keeping.leaving({"small": FIXED, "large": 4 * FIXED}, 4 * FIXED) == ["large"]


def test_what_comes_next_leaves_last_and_among_those_the_next_stays_longest() -> None:
    keeping = used(*["often"] * 9, "next", "soon")
    kept = {"often": 1, "soon": 1, "next": 1}

    assert keeping.leaving(kept, 2, ("next", "soon")) == ["often"]
    assert keeping.leaving(kept, 1, ("next", "soon")) == ["often", "soon"]
    assert keeping.leaving(kept, -1, ("next", "soon")) == ["often", "soon", "next"]


def test_nothing_leaves_while_everything_fits() -> None:
    assert used("a").leaving({"a": 5, "unknown": 5}, 10) == []


def test_of_very_many_names_those_used_most_are_remembered() -> None:
    keeping = used("often", "often", *(f"n{n}" for n in range(MOST_REMEMBERED)), half_life=1e6)

    assert keeping.frequency("often") > 0
    assert keeping.frequency("n0") == 0
    assert keeping.frequency(f"n{MOST_REMEMBERED - 1}") > 0
