"""Styles: around the prompt or after it."""

import pytest

from easel.errors import BadPrompt
from easel.prompt.styles import apply_style


@pytest.mark.parametrize(
    ("prompt", "style", "expected"),
    [
        ("a cat", "oil painting", "a cat, oil painting"),
        (" a cat ", " oil painting ", "a cat, oil painting"),
        ("a cat", "", "a cat"),
        ("", "oil painting", "oil painting"),
        ("a cat", "photo of {prompt}, 35mm", "photo of a cat, 35mm"),
        ("", "photo of {prompt}, 35mm", "photo of , 35mm"),
        ("a cat", "{prompt} and {prompt}", "a cat and a cat"),
        ("{prompt}", "({prompt})", "({prompt})"),
    ],
)
def test_a_style_is_applied_as_in_a1111(prompt: str, style: str, expected: str) -> None:
    assert apply_style(prompt, style) == expected


def test_a_style_can_not_grow_a_prompt_out_of_bounds() -> None:
    with pytest.raises(BadPrompt, match="at most 6000"):
        apply_style("a" * 1000, "{prompt}" * 7)
