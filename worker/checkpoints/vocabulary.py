"""CLIP's vocabulary, bundled, and the vocabularies that folders bring along: tokenizers without the hub.

`clip_merges.txt.gz` holds the 48,894 byte-pair merges in use of OpenAI CLIP's `bpe_simple_vocab_16e6.txt.gz` (MIT).
"""

import gzip
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from easel.catalog import Base

START = "<|startoftext|>"
END = "<|endoftext|>"

PADS: Mapping[Base, tuple[str, ...]] = {Base.SD15: (END,), Base.SD2: ("!",), Base.SDXL: (END, "!")}
"""What fills up each text encoder's prompt where a tokenizer does not say it."""

Merges = tuple[tuple[str, str], ...]


@cache
def clip_tokenizer(pad: str = END) -> CLIPTokenizer:
    """Return the shared 49,408-word tokenizer; `pad` is `<|endoftext|>` for CLIP-L, `!` for the OpenCLIP encoders."""
    return _tokenizer(_clip_words(), _clip_merges(), pad)


def folder_tokenizer(folder: Path, pad: str = END) -> CLIPTokenizer:
    """Read a tokenizer's folder, `pad` being used where it names none; raises ValueError, TypeError, KeyError, OSError.

    What the library would do with the files is left out: it answers a damaged one with a bare Exception.
    """
    if (folder / "vocab.json").is_file():
        words, pairs = _json(folder / "vocab.json"), _pairs((folder / "merges.txt").read_text(encoding="utf-8"))
    else:
        model = _json(folder / "tokenizer.json")["model"]
        words, pairs = model["vocab"], tuple(_pair(merge) for merge in model["merges"])
    pad = _named_pad(folder) or pad
    if words == _clip_words() and pairs == _clip_merges():
        return clip_tokenizer(pad)
    _check(words, pairs, pad)
    return _tokenizer(words, pairs, pad)


def read_words(said: Any, pad: str = END) -> CLIPTokenizer:
    """Return the tokenizer that `words_of` wrote down; raises ValueError, TypeError, KeyError."""
    words = {word: number for number, word in enumerate(said["words"])}
    pairs, pad = tuple(_pair(merge) for merge in said["merges"]), said.get("pad", pad)
    if len(words) != len(said["words"]):
        raise ValueError("a word stands twice")
    _check(words, pairs, pad)
    return _tokenizer(words, pairs, pad)


def words_of(tokenizer: CLIPTokenizer) -> dict[str, Any] | None:
    """Return a tokenizer's words, merges and padding as plain JSON, None for CLIP's own vocabulary."""
    words = tokenizer.get_vocab()
    if words == _clip_words():
        return None
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return {
        "words": sorted(words, key=words.__getitem__),
        "merges": [" ".join(_pair(merge)) for merge in merges],
        "pad": str(tokenizer.pad_token),
    }


def _tokenizer(words: Mapping[str, int], pairs: Merges, pad: str) -> CLIPTokenizer:
    # Copies, which the tokenizer may do with as it likes.
    merges: Any = list(pairs)
    return CLIPTokenizer(vocab=dict(words), merges=merges, pad_token=pad, model_max_length=77)


def _check(words: Any, pairs: Merges, pad: str) -> None:
    if not isinstance(words, dict) or not all(type(number) is int for number in words.values()):
        raise TypeError("a vocabulary gives each word a number")
    if sorted(words.values()) != list(range(len(words))):
        raise ValueError("the numbers of a vocabulary run from 0 without gaps")
    if lost := {START, END, pad, *(word for a, b in pairs for word in (a, b, a + b))} - words.keys():
        raise ValueError(f"{len(lost)} words are missing in the vocabulary")


def _named_pad(folder: Path) -> str:
    """Return the padding word the folder names; empty where it names none."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if not (folder / name).is_file():
            continue
        pad = _json(folder / name).get("pad_token")
        word = pad.get("content") if isinstance(pad, dict) else pad
        if isinstance(word, str) and word:
            return word
    return ""


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"{path.name} holds no object")
    return content


@cache
def _clip_words() -> Mapping[str, int]:
    alphabet = _byte_alphabet()
    merged = ["".join(pair) for pair in _clip_merges()]
    words = [*alphabet, *(char + "</w>" for char in alphabet), *merged, START, END]
    return {word: number for number, word in enumerate(words)}


@cache
def _clip_merges() -> Merges:
    return tuple(map(_pair, _clip_text().split("\n")))


@cache
def _clip_text() -> str:
    packed = files("worker.checkpoints").joinpath("clip_merges.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("utf-8").rstrip("\n")


def _pairs(text: str) -> Merges:
    """Read a merges.txt, whose first line may name a version."""
    head, _, rest = text.rstrip("\n").partition("\n")
    lines = rest if head.startswith("#version") else f"{head}\n{rest}"
    # Nearly every folder brings CLIP's own; reading those anew would be most of the time a small folder takes to load.
    # Not splitlines(): it would also split at letters that Unicode calls line ends.
    return _clip_merges() if lines == _clip_text() else tuple(map(_pair, lines.rstrip("\n").split("\n")))


def _pair(merge: Any) -> tuple[str, str]:
    """Return the two halves of a merge, which is written `a b` or, since transformers 5, `["a", "b"]`."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return str(left), str(right)


def _byte_alphabet() -> list[str]:
    """One printable character per byte, in the order of CLIP's ids (OpenAI CLIP, `simple_tokenizer.bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(others)]
