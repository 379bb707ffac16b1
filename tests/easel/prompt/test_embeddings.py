from time import process_time

import pytest

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import BadPrompt
from easel.prompt.embeddings import Lexicon, embedding_words, meant, named_embeddings


def embedding(name: str, base: Base | None = None, **facts: object) -> ModelCard:
    path = {"path": f"embeddings/{name}.safetensors", "root": "0"}
    return ModelCard.model_validate({"name": name, "kind": ModelKind.EMBEDDING, "base": base} | path | facts)


NAMES = ("EasyNeg_V2", "bad-hands", "bad-hands-5", "<neon>", "C++", "emb(v2)", "日本 style")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ()),
        ("a red cat", ()),
        ("a easyNEG_v2, easyneg_V2", ("EasyNeg_V2",)),
        ("aeasyneg_v2 easyneg_v22 xeasyneg_v2", ()),
        ("bad-hands-5 bad-hands", ("bad-hands-5", "bad-hands")),
        ("bad-hands-55", ("bad-hands",)),
        ("bad-hand", ()),
        ("(bad-hands:1.3), [<NEON>:cat:0.5]", ("bad-hands", "<neon>")),
        ("in c++!", ("C++",)),
        (r"emb\(v2\) AND 日本 STYLE", ("emb(v2)", "日本 style")),
        ("a <lora:bad-hands:1> cat", ()),
    ],
)
def test_names_are_found_whatever_their_case_and_never_inside_words(text: str, named: tuple[str, ...]) -> None:
    assert named_embeddings(text, NAMES) == named


def test_a_wrong_tag_is_told_as_everywhere() -> None:
    with pytest.raises(BadPrompt, match="names no LoRA"):
        named_embeddings("<lora::1> neon", ["neon"])


def test_ten_thousand_names_and_hostile_ones_take_no_longer_than_the_text() -> None:
    lexicon = Lexicon([*(f"emb-{n:05d}" for n in range(10_000)), "(" * 200 + "x"])
    text = "emb-00001, " * 270 + "(" * 3000

    started = process_time()
    named = named_embeddings(text, lexicon)

    assert named == ("emb-00001",)
    assert process_time() - started < 2


def test_an_embedding_is_called_by_name_alias_and_file() -> None:
    card = embedding("Neon light", aliases=("glow",), path="embeddings/sub/neon_v3.pt")

    words = embedding_words([card, embedding("gone", root="")])

    assert {word: cards[0].name for word, cards in words.items()} == dict.fromkeys(
        ("neon light", "glow", "neon_v3"), "Neon light"
    )


def test_of_two_files_of_one_name_the_one_for_the_checkpoints_base_is_meant() -> None:
    small = embedding("neon", Base.SD15, path="embeddings/sd/neon.safetensors")
    large = embedding("neon-xl", Base.SDXL, path="embeddings/xl/neon.safetensors")
    words = embedding_words([large, small])

    bases = {base: ModelCard(name="c", kind=ModelKind.CHECKPOINT, base=base) for base in Base}

    assert words["neon"] == (small, large)
    assert meant(words["neon"], bases[Base.SD15]) is small
    assert meant(words["neon"], bases[Base.SDXL]) is large
    assert meant(words["neon"], bases[Base.SD2]) is small
