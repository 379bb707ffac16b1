"""Where noise comes from: streams per picture, the numbers of an NVIDIA card, variations."""

import pytest
import torch
from torch import Tensor

from easel.jobs import MAX_SEED
from tests.fakes.engine_jobs import small
from worker.engine.noise import Noise, Philox, first_noise, seeds, slerp

SHAPE = (4, 8, 8)


def test_philox_draws_what_an_nvidia_card_draws() -> None:
    # As published with A1111's `rng_philox.py`: torch.randn on CUDA with seed 0.
    published = [-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564, -0.62285122, -0.32838709]
    published += [-1.07454231, -0.36314407, -1.67105067, 2.26550497]

    drawn = Philox(0).randn((3, 4))

    assert drawn.dtype == torch.float32
    assert torch.allclose(drawn, torch.tensor(published).view(3, 4), rtol=0, atol=5e-7)


def test_philox_is_normal_and_its_draws_and_seeds_have_nothing_in_common() -> None:
    source = Philox(7)
    draws = [source.randn((4, 64, 64)), source.randn((4, 64, 64)), Philox(8).randn((4, 64, 64))]
    draws.append(Philox(7 + 2**32).randn((4, 64, 64)))

    for draw in draws:
        assert draw.mean().abs() < 0.02
        assert draw.std() == pytest.approx(1, abs=0.02)
    alike = torch.corrcoef(torch.stack([draw.flatten() for draw in draws])) - torch.eye(4)
    assert alike.abs().max() < 0.03


def test_a_small_picture_is_the_beginning_of_a_large_one_on_the_card() -> None:
    assert torch.equal(Philox(3).randn((5,)), Philox(3).randn((4, 4)).flatten()[:5])


def test_cpu_noise_is_what_torch_draws_from_that_seed() -> None:
    noise = Noise(42)
    generator = torch.Generator().manual_seed(42)

    for _ in range(3):
        assert torch.equal(noise.draw(SHAPE), torch.randn(SHAPE, generator=generator))


def test_a_stream_goes_on_where_it_stopped_and_starts_again_with_its_seed() -> None:
    one, other = Noise(5, "nv"), Noise(5, "nv")
    first, second = one.draw(SHAPE), one.draw(SHAPE)

    assert not torch.equal(first, second)
    assert torch.equal(other.draw(SHAPE), first)
    assert torch.equal(other.draw(SHAPE), second)


@pytest.mark.parametrize("rng", ["cpu", "nv"])
def test_what_a_step_draws_comes_from_the_picture_s_stream(rng: str) -> None:
    noise = Noise(5, "nv" if rng == "nv" else "cpu")
    expected = Noise(5, "nv" if rng == "nv" else "cpu")
    before = torch.get_rng_state()

    with noise.feeding(torch.device("cpu")):
        drawn = [torch.randn(SHAPE), torch.randn(SHAPE, dtype=torch.float32)]
        untouched = torch.zeros(3) + 1

    assert all(torch.equal(one, expected.draw(SHAPE)) for one in drawn)
    assert torch.equal(untouched, torch.ones(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_s_own_generator_is_read_by_its_seed() -> None:
    cpu, nv = Noise(1), Noise(1, "nv")
    generator = torch.Generator().manual_seed(99)

    with cpu.feeding(torch.device("cpu")):
        from_cpu = torch.randn(SHAPE, generator=generator)
    with nv.feeding(torch.device("cpu")):
        from_nv = torch.randn(SHAPE, generator=generator)

    assert torch.equal(from_cpu, Noise(99).draw(SHAPE))
    assert torch.equal(from_nv, Noise(99, "nv").draw(SHAPE))


def test_pictures_of_a_job_count_the_seed_up() -> None:
    request = small(seed=10, batch_size=3)

    assert [seeds(request, index)[0] for index in range(3)] == [10, 11, 12]
    assert torch.equal(first_noise(request, 2, SHAPE)[0], first_noise(small(seed=12), 0, SHAPE)[0])


def test_the_last_seed_is_followed_by_the_first() -> None:
    assert seeds(small(seed=MAX_SEED), 1)[0] == 0


def test_variations_keep_the_seed_and_count_the_variation_seed_up() -> None:
    request = small(seed=10, variation_seed=70, variation_strength=0.2)

    assert [seeds(request, index) for index in range(3)] == [(10, 70), (10, 71), (10, 72)]


@pytest.mark.parametrize("rng", ["cpu", "nv"])
def test_a_variation_lies_between_the_two_seeds(rng: str) -> None:
    plain = first_noise(small(seed=1, rng=rng), 0, SHAPE)[0]
    other = first_noise(small(seed=2, rng=rng), 0, SHAPE)[0]

    def varied(strength: float) -> Tensor:
        return first_noise(small(seed=1, rng=rng, variation_seed=2, variation_strength=strength), 0, SHAPE)[0]

    assert torch.equal(varied(0.0), plain)
    assert torch.allclose(varied(1.0), other, atol=1e-5)
    distances = [float((varied(strength) - plain).norm()) for strength in (0.1, 0.3, 0.6, 0.9)]
    assert distances == sorted(distances)


def test_a_variation_does_not_disturb_the_noise_of_later_steps() -> None:
    _, plain = first_noise(small(seed=1), 0, SHAPE)
    _, varied = first_noise(small(seed=1, variation_seed=2, variation_strength=0.5), 0, SHAPE)

    assert torch.equal(plain.draw(SHAPE), varied.draw(SHAPE))


def test_slerp_is_the_one_of_a1111() -> None:
    low, high = Noise(1).draw(SHAPE), Noise(2).draw(SHAPE)

    assert torch.allclose(slerp(0.3, low, high), _a1111_slerp(0.3, low, high), atol=1e-6)


def _a1111_slerp(share: float, low: Tensor, high: Tensor) -> Tensor:
    """Follow A1111's `slerp`: angles between the columns of each channel."""
    omega = torch.acos((low / low.norm(dim=1, keepdim=True) * (high / high.norm(dim=1, keepdim=True))).sum(1))
    sine = torch.sin(omega)
    from_low = (torch.sin((1.0 - share) * omega) / sine).unsqueeze(1) * low
    from_high: Tensor = (torch.sin(share * omega) / sine).unsqueeze(1) * high
    return from_low + from_high


def test_a_variation_towards_the_same_seed_changes_nothing() -> None:
    low = Noise(1).draw(SHAPE)

    assert torch.allclose(slerp(0.4, low, low), low)
