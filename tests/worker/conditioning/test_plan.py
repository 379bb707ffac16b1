import pytest
import torch

from worker.conditioning.plan import Conditioning, PromptPlan, Track


def said(chunks: int = 1) -> Conditioning:
    return Conditioning(torch.zeros(1, 77 * chunks, 4))


@pytest.mark.parametrize(("step", "text"), [(0, 0), (2, 0), (3, 1), (4, 1), (5, 2), (9, 2)])
def test_a_text_holds_through_its_last_step(step: int, text: int) -> None:
    texts = (said(), said(), said())

    assert Track((2, 4, 6), texts).at(step) is texts[text]


def test_a_constant_plan_says_the_same_at_every_step() -> None:
    positive, negative = said(), said()
    plan = PromptPlan.constant(positive, negative)

    for step in (0, 149):
        ((told, weight),), denied = plan.at(step)
        assert (told, weight, denied) == (positive, 1.0, negative)


def test_a_plan_knows_its_number_of_chunks() -> None:
    assert PromptPlan.constant(said(3), said(3)).chunks == 3
