"""Names of samplers and schedules, what may be combined, what it costs."""

import itertools

import pytest

from easel.errors import BadValue, UnknownSampler
from easel.samplers import AUTOMATIC, SAMPLERS, SCHEDULES, calls, check_pair, parse_sampler, parse_schedule, resolve


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_read_however_it_is_spelt(name: str) -> None:
    spellings = [name, name.upper(), name.lower(), f"  {name} ", name.replace(" ", "_"), name.replace("++", "pp")]

    assert {parse_sampler(spelling) for spelling in spellings} == {(name, None)}


@pytest.mark.parametrize(("sampler", "schedule"), list(itertools.product(SAMPLERS, SCHEDULES)))
def test_every_joined_name_is_read(sampler: str, schedule: str) -> None:
    assert parse_sampler(f"{sampler} {schedule}") == (sampler, schedule)
    assert parse_sampler(f"{sampler}_{schedule}".lower()) == (sampler, schedule)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("k_euler_a", ("Euler a", None)),
        ("euler_ancestral", ("Euler a", None)),
        ("dpmpp_2m", ("DPM++ 2M", None)),
        ("k_dpmpp_2m_ka", None),
        ("k_dpm_2_a", ("DPM2 a", None)),
        ("dpm_2_ancestral", ("DPM2 a", None)),
        ("dpmpp_2s_ancestral", ("DPM++ 2S a", None)),
        ("dpmpp_3m_sde_gpu", ("DPM++ 3M SDE", None)),
        ("uni_pc_bh2", ("UniPC", None)),
        ("DPM++ 2M SDE Heun Exponential", ("DPM++ 2M SDE Heun", "Exponential")),
        ("dpmpp_2m_sgm_uniform", ("DPM++ 2M", "SGM Uniform")),
    ],
)
def test_names_from_other_programs_are_known(typed: str, meant: tuple[str, str | None] | None) -> None:
    if meant is None:
        with pytest.raises(UnknownSampler):
            parse_sampler(typed)
    else:
        assert parse_sampler(typed) == meant


def test_an_unknown_sampler_names_the_nearest_one() -> None:
    with pytest.raises(UnknownSampler, match=r"no sampler called `DPM\+\+ 2N Karas`.*`DPM\+\+ 2M`") as caught:
        parse_sampler("DPM++ 2N Karas")

    assert "DPM++ 2M" in caught.value.nearest


@pytest.mark.parametrize("typed", ["", "   ", "Restart", "Karras", "🦊" * 5000])
def test_whatever_is_no_sampler_is_refused_with_an_offer(typed: str) -> None:
    with pytest.raises(UnknownSampler) as caught:
        parse_sampler(typed)

    assert set(caught.value.nearest) <= set(SAMPLERS)
    assert caught.value.nearest
    assert len(str(caught.value)) < 300


def test_an_unknown_schedule_names_the_nearest_one() -> None:
    with pytest.raises(UnknownSampler, match=r"no schedule called `karas`\. Did you mean `Karras`"):
        parse_schedule("karas")


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_read_however_it_is_spelt(name: str) -> None:
    assert {parse_schedule(name), parse_schedule(name.lower().replace(" ", "_"))} == {name}


@pytest.mark.parametrize(
    ("sampler", "times"),
    [("Euler a", 20), ("Heun", 39), ("DPM2", 39), ("DPM2 a", 39), ("DPM++ SDE", 39), ("DPM++ 2S a", 39), ("PLMS", 21)],
)
def test_twenty_steps_cost_this_many_calls(sampler: str, times: int) -> None:
    assert calls(sampler, 20) == times


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_single_step_costs_a_single_call(sampler: str) -> None:
    assert calls(sampler, 1) == 1


@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [
        ("DPM++ 2M", "Karras"),
        ("DPM++ SDE", "Karras"),
        ("DPM++ 2M SDE", "Exponential"),
        ("DPM++ 2M SDE Heun", "Exponential"),
        ("DPM++ 3M SDE", "Exponential"),
        ("DPM2 a", "Karras"),
        ("Euler a", AUTOMATIC),
        ("DDIM", AUTOMATIC),
    ],
)
def test_automatic_is_what_a1111_takes(sampler: str, schedule: str) -> None:
    assert resolve(sampler, AUTOMATIC) == schedule
    assert resolve(sampler, "SGM Uniform") == "SGM Uniform"


@pytest.mark.parametrize(("sampler", "schedule"), [("DDIM", "Karras"), ("LCM", "Beta"), ("PLMS", "Uniform")])
def test_an_impossible_pair_is_refused_with_the_possible_ones(sampler: str, schedule: str) -> None:
    with pytest.raises(BadValue, match=f"`{sampler}` can not follow the schedule `{schedule}`.*`Automatic`, `SGM"):
        check_pair(sampler, schedule)


def test_a_pair_with_an_unknown_sampler_is_refused_by_name() -> None:
    with pytest.raises(UnknownSampler, match=r"`Eular`\. Did you mean `Euler`"):
        check_pair("Eular", AUTOMATIC)


def test_what_a_sampler_takes_on_its_own_is_among_what_it_can_follow() -> None:
    assert all(row.automatic in (AUTOMATIC, *row.schedules) for row in SAMPLERS.values())
    assert all(set(row.schedules) < set(SCHEDULES) for row in SAMPLERS.values())
