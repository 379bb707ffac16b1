from typing import Any

import pytest
import torch
from PIL import Image

from easel.errors import BadValue
from tests.fakes.workshop import asked
from worker.operations.operation import Done, Operation, Pass, advance, together

RED, BLUE = Image.new("RGB", (1, 1), "red"), Image.new("RGB", (1, 1), "blue")


def operation(*numbers: int, image: Image.Image = RED, seen: list[Any] | None = None) -> Operation:
    """Ask for so many passes each time, and remember what comes back."""
    for number in numbers:
        latents = yield [Pass(asked(seed=n)) for n in range(number)]
        if seen is not None:
            seen.append([float(one) for one in latents])
    return [image]


def test_several_operations_ask_at_once_and_get_what_is_theirs() -> None:
    first: list[Any] = []
    second: list[Any] = []
    both = together([operation(1, 2, seen=first), operation(2, image=BLUE, seen=second), operation()])

    asked_for = [len(next(both))]
    asked_for.append(len(both.send([torch.tensor(n) for n in (1.0, 2.0, 3.0)])))
    with pytest.raises(StopIteration) as end:
        both.send([torch.tensor(4.0), torch.tensor(5.0)])

    assert asked_for == [3, 2]
    assert first == [[1.0], [4.0, 5.0]]
    assert second == [[2.0, 3.0]]
    assert end.value.value == [[RED], [BLUE], [RED]]


def test_an_operation_may_end_at_once() -> None:
    outcome = advance(operation())

    assert isinstance(outcome, Done)
    assert outcome.images == [RED]


def test_the_fault_of_one_is_the_fault_of_all() -> None:
    def broken() -> Operation:
        yield [Pass(asked())]
        raise BadValue("no")

    both = together([operation(1), broken()])
    next(both)

    with pytest.raises(BadValue):
        both.send([torch.zeros(1), torch.zeros(1)])
