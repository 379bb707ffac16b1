"""How the engine learns what a call may carry."""

import pytest
import torch

from worker.engine.batching import DOUBTS, PATIENCE, BatchPolicy, Shape
from worker.engine.memory import ran_out

SMALL, LARGE = Shape("sd15", 8, 8, 77), Shape("sd15", 16, 16, 77)


def policy(first: int = 2, most: int = 32) -> BatchPolicy:
    return BatchPolicy(torch.device("cpu"), first=first, most=most)


def busy(learner: BatchPolicy, seconds: dict[int, float], *, calls: int = 30, shape: Shape = SMALL) -> list[int]:
    """Make calls as large as allowed that take `seconds` per row at each size; return the sizes."""
    sizes = []
    for _ in range(calls):
        rows = learner.limit(shape)
        sizes.append(rows)
        learner.record(shape, rows, seconds[rows] * rows)
    return sizes


def test_calls_grow_as_long_as_a_row_gets_cheaper() -> None:
    sizes = busy(policy(), {2: 1.0, 4: 0.6, 8: 0.5, 16: 0.45, 32: 0.40})

    assert sizes == [2] * 3 + [4] * 3 + [8] * 3 + [16] * 3 + [32] * 18


def test_a_call_that_makes_rows_dearer_is_taken_back() -> None:
    sizes = busy(policy(), {2: 1.0, 4: 0.6, 8: 0.7})

    assert sizes[:14] == [2] * 3 + [4] * 3 + [8] * DOUBTS
    assert set(sizes[14:]) == {4}


def test_a_large_model_on_a_cpu_stays_at_one_picture() -> None:
    sizes = busy(policy(), {2: 10.0, 4: 10.1})

    assert sizes == [2] * 3 + [4] * DOUBTS + [2] * 19


def test_more_jobs_at_nearly_the_same_price_share_a_call() -> None:
    sizes = busy(policy(most=8), {2: 10.0, 4: 9.0, 8: 9.5})

    assert sizes == [2] * 3 + [4] * 3 + [8] * 24


def test_small_losses_do_not_add_up() -> None:
    sizes = busy(policy(), {2: 10.0, 4: 8.0, 8: 8.6, 16: 9.2})

    assert set(sizes[-10:]) == {8}


def test_a_call_that_costs_much_is_given_up_at_once() -> None:
    sizes = busy(policy(), {2: 10.0, 4: 20.0})

    assert sizes == [2] * 3 + [4] * 3 + [2] * 24


def test_the_first_call_of_a_size_is_not_held_against_it() -> None:
    learner = policy()
    busy(learner, {2: 1.0}, calls=3)

    learner.record(SMALL, 4, 400.0)
    busy(learner, {4: 0.6}, calls=2)

    assert learner.limit(SMALL) == 8


def test_after_a_while_it_tries_again() -> None:
    learner = policy()
    busy(learner, {2: 1.0, 4: 1.4}, calls=6)
    assert learner.limit(SMALL) == 2

    sizes = busy(learner, {2: 1.0, 4: 0.5, 8: 0.4}, calls=PATIENCE + 9, shape=SMALL)

    assert sizes[:PATIENCE] == [2] * PATIENCE
    assert sizes[-1] == 8


def test_calls_that_are_not_full_say_nothing_about_larger_ones() -> None:
    learner = policy(first=8)

    for _ in range(10):
        learner.record(SMALL, 2, 2.0)

    assert learner.limit(SMALL) == 8


def test_shapes_are_learnt_apart() -> None:
    learner = policy()

    busy(learner, {2: 1.0, 4: 0.5, 8: 0.4, 16: 0.3, 32: 0.2})

    assert learner.limit(SMALL) == 32
    assert learner.limit(LARGE) == 2


def test_what_did_not_fit_is_halved_down_to_one_row_and_stays_so_for_a_while() -> None:
    learner = policy(first=16)

    assert [learner.too_large(SMALL, rows) for rows in (12, 6, 3, 1)] == [6, 3, 1, 1]
    busy(learner, {1: 1.0}, calls=PATIENCE - 1)
    assert learner.limit(SMALL) == 1


def test_a_call_is_timed_and_one_that_failed_is_not() -> None:
    learner = policy()

    for _ in range(3):
        with pytest.raises(ValueError, match="no"), learner.timed(SMALL, 2):
            raise ValueError("no")
    assert learner.limit(SMALL) == 2

    for _ in range(3):
        with learner.timed(SMALL, 2):
            pass
    assert learner.limit(SMALL) == 4


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_want_of_memory_is_told_from_other_faults(error: Exception, memory: bool) -> None:
    assert ran_out(error) is memory
