"""Networks: every spelling A1111 knows, and names that are no names."""

import pytest

from easel.errors import BadPrompt
from easel.prompt.networks import MAX_TAGS, NetworkTag, extract_networks


def lora(name: str, te_weight: float = 1.0, unet_weight: float = 1.0, dyn: int | None = None) -> NetworkTag:
    return NetworkTag("lora", name, te_weight, unet_weight, dyn)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<lora:ink>", lora("ink")),
        ("<lora:ink:0.8>", lora("ink", 0.8, 0.8)),
        ("<lora:ink:-0.8>", lora("ink", -0.8, -0.8)),
        ("<lora:ink:\u22120.8>", lora("ink", -0.8, -0.8)),
        ("<lora:ink: 1 >", lora("ink")),
        ("<lora:ink:0>", lora("ink", 0.0, 0.0)),
        ("<lora:ink:0.5:0.7>", lora("ink", 0.5, 0.7)),
        ("<lora:ink:0.5:0.7:16>", lora("ink", 0.5, 0.7, 16)),
        ("<lora:ink:te=0.2>", lora("ink", 0.2, 0.2)),
        ("<lora:ink:unet=0.9>", lora("ink", 1.0, 0.9)),
        ("<lora:ink:0.5:unet=0.9:dyn=8>", lora("ink", 0.5, 0.9, 8)),
        ("<lora:ink:te=0.2:unet=0.9>", lora("ink", 0.2, 0.9)),
        ("<lora:ink:0.5:0.7:te=0.2>", lora("ink", 0.2, 0.7)),
        ("<lora:ink:0.5:lbw=MIDD:stop=10>", lora("ink", 0.5, 0.5)),
        ("<lora:a=b:0.5>", lora("a=b", 0.5, 0.5)),
        ("<lora: my ink v1.2, (best) :1>", lora("my ink v1.2, (best)")),
        ("<lora:墨:1>", lora("墨")),
        ("<LoRA:ink:1>", lora("ink")),
        ("<lyco:ink:0.5>", lora("ink", 0.5, 0.5)),
        ("<hypernet:ink>", NetworkTag("hypernetwork", "ink")),
        ("<hypernet:ink:0.4>", NetworkTag("hypernetwork", "ink", 0.4, 0.4)),
        ("<hypernet:ink:0.4:0.7>", NetworkTag("hypernetwork", "ink", 0.4, 0.4)),
    ],
)
def test_a_tag_is_read_as_in_a1111(text: str, expected: NetworkTag) -> None:
    assert extract_networks(f"a {text}b") == ("a b", (expected,))


def test_tags_keep_their_order_and_the_text_its_spaces() -> None:
    text, tags = extract_networks("a <lora:x:1>, b <hypernet:y:0.5> c<lora:x:2>")

    assert text == "a , b  c"
    assert [tag.name for tag in tags] == ["x", "y", "x"]


@pytest.mark.parametrize(
    "text", ["", "a < b > c", "<lora>", "<lora:>", "<:smile:12>", "<lora:x", "a <3 b", "<lo ra:x>"]
)
def test_what_is_no_tag_stays(text: str) -> None:
    assert extract_networks(text) == (text, ())


def test_a_tag_of_an_unknown_kind_goes_without_a_trace() -> None:
    assert extract_networks("a <segment:face:1> b <a:party:123>") == ("a  b ", ())


@pytest.mark.parametrize(
    "name", ["../x", "..\\x", "a/b", "a\\b", "..", "a..b", "/etc/passwd", "a\0b", "a\nb", "\ud800", "x" * 201]
)
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(BadPrompt, match="can not be the name of a LoRA"):
        extract_networks(f"<lora:{name}:1>")
    with pytest.raises(BadPrompt, match="can not be the name of a hypernetwork"):
        extract_networks(f"<hypernet:{name}:1>")


@pytest.mark.parametrize("text", ["<lora: :1>", "<lora:te=1>", "<hypernet: >"])
def test_a_tag_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(BadPrompt, match="names no"):
        extract_networks(text)


@pytest.mark.parametrize("weight", ["1e9", "-11", "nan", "inf", "-inf", "1e999", "10.1"])
def test_a_weight_out_of_range_is_refused_with_the_range(weight: str) -> None:
    with pytest.raises(BadPrompt, match=r"out of range\. A weight is a number from -10 to 10"):
        extract_networks(f"<lora:x:{weight}>")


@pytest.mark.parametrize("text", ["<lora:x:heavy>", "<lora:x:>", "<lora:x:1:0,8>", "<lora:x:te=>", "<hypernet:x:y>"])
def test_a_weight_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadPrompt, match="is not a number"):
        extract_networks(text)


@pytest.mark.parametrize("dyn", ["0", "-1", "1.5", "x", "1025", "9" * 5000])
def test_a_rank_that_is_none_is_refused(dyn: str) -> None:
    with pytest.raises(BadPrompt, match="whole number from 1 to 1024"):
        extract_networks(f"<lora:x:dyn={dyn}>")


def test_five_hundred_tags_are_refused() -> None:
    assert len(extract_networks("<lora:x:1>" * MAX_TAGS)[1]) == MAX_TAGS

    with pytest.raises(BadPrompt, match="more than 20"):
        extract_networks("<lora:x:1>" * 500)


def test_a_refusal_does_not_repeat_a_long_text() -> None:
    with pytest.raises(BadPrompt) as caught:
        extract_networks(f"<lora:{'x' * 5000}:1>")

    assert len(str(caught.value)) < 400


@pytest.mark.timeout(5)
def test_a_hundred_thousand_open_tags_are_read_at_once() -> None:
    assert extract_networks("<a:" * 100_000) == ("<a:" * 100_000, ())
    assert extract_networks("<a" * 100_000 + ">") == ("<a" * 100_000 + ">", ())
