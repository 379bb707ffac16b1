import json
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer

from worker.checkpoints.vocabulary import END, START, clip_tokenizer, folder_tokenizer

DEMO = Path(__file__).parents[3] / "models" / "Stable-diffusion" / "easel-demo" / "tokenizer"
WORDS = {"c": 0, "a": 1, "t</w>": 2, "ca": 3, "cat</w>": 4, "!": 5, START: 6, END: 7}
MERGES = "#version: 0.2\nc a\nca t</w>\n"


def write(folder: Path, words: object = WORDS, merges: str = MERGES, **config: object) -> Path:
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text(merges)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_the_ids_are_those_of_openai() -> None:
    tokenizer = clip_tokenizer()

    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]


@pytest.mark.parametrize(("pad", "number"), [("<|endoftext|>", 49407), ("!", 0)])
def test_the_padding_is_what_the_encoder_was_trained_with(pad: str, number: int) -> None:
    assert clip_tokenizer(pad)("cat", padding="max_length").input_ids == [49406, 2368, 49407, *[number] * 74]


@pytest.mark.parametrize("text", ["naïve café", "日本語 🎨", "\x00\x85\xad", "٣ Ⅷ ½"])
def test_every_text_survives_the_way_to_ids_and_back(text: str) -> None:
    tokenizer = clip_tokenizer()

    ids = tokenizer(text, add_special_tokens=False).input_ids

    spaceless = "".join(text.lower().split())
    assert "".join(str(tokenizer.decode(ids)).split()) == spaceless


def test_one_tokenizer_serves_all() -> None:
    assert clip_tokenizer() is clip_tokenizer()


def test_a_folder_may_have_a_vocabulary_of_its_own(tmp_path: Path) -> None:
    tokenizer = folder_tokenizer(write(tmp_path))

    assert tokenizer("Cat").input_ids == [6, 4, 7]


@pytest.mark.parametrize("pad", ["!", {"content": "!", "__type": "AddedToken"}])
def test_a_folder_may_name_its_padding(tmp_path: Path, pad: object) -> None:
    assert folder_tokenizer(write(tmp_path, pad_token=pad)).pad_token_id == 5


def test_a_folder_that_names_no_padding_gets_that_of_its_base(tmp_path: Path) -> None:
    assert folder_tokenizer(write(tmp_path), "!").pad_token_id == 5


def test_a_folder_with_the_vocabulary_of_clip_gets_the_shared_tokenizer(tmp_path: Path) -> None:
    shared: Any = clip_tokenizer("!")
    shared.backend_tokenizer.model.save(str(tmp_path))

    assert folder_tokenizer(tmp_path, "!") is shared


def test_the_demo_is_read_alike_from_either_form_and_by_transformers(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((DEMO / "tokenizer.json").read_bytes())
    by_transformers: Any = CLIPTokenizer.from_pretrained(str(DEMO), local_files_only=True)
    text = "a red apple, 2 Bananas; naïve 日本 🎨!"

    ids = [folder_tokenizer(folder)(text).input_ids for folder in (DEMO, tmp_path)]

    assert ids == [by_transformers(text).input_ids] * 2


@pytest.mark.parametrize(
    ("words", "merges"),
    [
        ([], MERGES),
        (["cat"], MERGES),
        (WORDS | {"cat</w>": "4"}, MERGES),
        (WORDS | {"cat</w>": 40}, MERGES),
        (WORDS | {"cat</w>": 3}, MERGES),
        ({word: number for number, word in enumerate(WORDS) if word != END}, MERGES),
        (WORDS, MERGES + "d o\n"),
        (WORDS, MERGES + "dog\n"),
        (WORDS, MERGES + "c a t</w>\n"),
    ],
)
def test_a_vocabulary_that_does_not_add_up_is_refused(tmp_path: Path, words: object, merges: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        folder_tokenizer(write(tmp_path, words, merges))
