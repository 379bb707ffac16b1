"""Headers that lie, files that are something else, and pickles: none costs time, memory or safety."""

import json
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel.catalog import ModelKind
from easel.errors import ModelUnusable
from easel.identify import header as room
from easel.identify.file import identify
from easel.identify.header import MAX_HEADER, MAX_TENSORS, read_header
from tests.fakes.weight_files import checkpoint, raw_safetensors, safetensors


def header(**entry: object) -> bytes:
    return json.dumps({"x": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]} | entry}).encode()


GOOD = header()

BROKEN: dict[str, tuple[bytes, int, int | None]] = {
    "length 2^63": (GOOD, 8, 2**63),
    "length beyond the file": (GOOD, 8, 10_000),
    "length of nothing": (b"", 0, 0),
    "hole": (header(data_offsets=[8, 16]), 16, None),
    "trailing bytes": (GOOD, 9, None),
    "cut off": (GOOD, 7, None),
    "negative": (header(data_offsets=[-8, 0]), 8, None),
    "backwards": (header(data_offsets=[8, 0]), 8, None),
    "size and shape differ": (header(shape=[5]), 8, None),
    "overflow": (header(shape=[2**62, 2**62]), 8, None),
    "huge number": (header(shape=[4]).replace(b"[4]", b"[" + b"9" * 900 + b"]"), 8, None),
    "shape of text": (header(shape="4"), 8, None),
    "shape of null": (header(shape=None), 8, None),
    "shape of floats": (header(shape=[4.0]), 8, None),
    "shape of bools": (header(shape=[True]), 8, None),
    "unknown dtype": (header(dtype="X9"), 8, None),
    "dtype of lists": (header(dtype=[]), 8, None),
    "three offsets": (header(data_offsets=[0, 8, 8]), 8, None),
    "fact missing": (b'{"x":{"dtype":"F16","shape":[4]}}', 8, None),
    "fact twice": (b'{"x":{"dtype":"F16","shape":[4],"shape":[4],"data_offsets":[0,8]}}', 8, None),
    "name twice": (GOOD[:-1] + b"," + GOOD[1:], 8, None),
    "overlap": (GOOD[:-1] + b"," + GOOD[1:].replace(b'"x"', b'"y"'), 8, None),
    "not UTF-8": (GOOD.replace(b'"x"', b'"\xff"'), 8, None),
    "not JSON": (b"{" + b"x" * 40, 8, None),
    "a list": (b"[" + b" " * 40, 8, None),
    "two headers": (GOOD + GOOD, 8, None),
    "metadata of numbers": (b'{"__metadata__":{"a":1},' + GOOD[1:], 8, None),
    "metadata of lists": (b'{"__metadata__":[],' + GOOD[1:], 8, None),
    "no tensors": (b'{"__metadata__":{}}', 0, None),
    "deep": (b'{"x":' + b"[" * 100_000, 8, None),
    "deep metadata": (b'{"__metadata__":' + b'{"a":' * 100_000, 8, None),
    "deep entries": (b'{"x":' * 100_000, 8, None),
}


@pytest.mark.parametrize(("head", "data", "length"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_header_is_refused(tmp_path: Path, head: bytes, data: int, length: int | None) -> None:
    file = raw_safetensors(tmp_path / "x.safetensors", head, data, length=length)

    with pytest.raises(ModelUnusable):
        read_header(file)
    assert identify(file, ModelKind.LORA).problem


def test_a_good_header_is_read(tmp_path: Path) -> None:
    padded = b'{"__metadata__": {"a": "\\u00e9"},\n ' + GOOD[1:] + b"   "
    file = raw_safetensors(tmp_path / "x.safetensors", padded, 8)

    read = read_header(file)

    assert read.metadata == {"a": "é"}
    assert read.tensors["x"].shape == (4,)
    assert (read.tensors["x"].start, read.tensors["x"].end) == (file.stat().st_size - 8, file.stat().st_size)


def tensors(count: int) -> bytes:
    return b"{" + b",".join(
        b'"t%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % number for number in range(count)
    )


BOMBS: dict[str, Callable[[], bytes]] = {
    "60 MB of tensors": lambda: tensors(1_000_000),
    "just too many tensors": lambda: tensors(MAX_TENSORS + 1),
    "lists in metadata": lambda: b'{"__metadata__":{"a":' + b"[]," * 4_000_000,
    "lists in a shape": lambda: b'{"x":{"dtype":"U8","shape":[' + b"[]," * 4_000_000,
    "one endless name": lambda: b'{"' + b"x" * (MAX_HEADER - 10),
    "spaces": lambda: b"{" + b" " * (MAX_HEADER - 10),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_costs_neither_time_nor_memory(tmp_path: Path, bomb: Callable[[], bytes]) -> None:
    file = raw_safetensors(tmp_path / "x.safetensors", bomb(), 8)
    started = time.thread_time()
    with pytest.raises(ModelUnusable):
        read_header(file)
    seconds = time.thread_time() - started
    tracemalloc.start()
    with pytest.raises(ModelUnusable):
        read_header(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # 50 ms on a free core; ten times that on a busy one.
    assert seconds < 0.5
    assert peak < 64 * 2**20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"12345678", "still being copied"),
        (b"<!DOCTYPE html><html><body>Please log in</body></html>", "web page"),
        (b"\n\n<html>", "web page"),
        (b'{"error": "Unauthorized"}', "web service"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(60), "pickle"),
        (b"\x80\x02}q\x00." + bytes(60), "pickle"),
        (b"GGUF\x03\x00\x00\x00" + bytes(60), "GGUF"),
    ],
)
def test_an_impostor_is_called_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)

    assert words in identify(file, ModelKind.CHECKPOINT).problem


def test_a_header_whose_length_looks_like_another_format_is_still_read(tmp_path: Path) -> None:
    # The lowest bytes of these lengths are `<` and `{"`.
    for length in (0x3C, 0x227B):
        file = raw_safetensors(tmp_path / "x.safetensors", header().ljust(length), 8)

        assert read_header(file).tensors


def test_what_is_still_being_copied_says_so(tmp_path: Path) -> None:
    file = safetensors(tmp_path / "x.safetensors", checkpoint("sd15"))
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 100)

    assert "still being copied" in identify(file).problem


def test_a_file_that_is_gone_or_closed_is_a_problem_not_an_error(tmp_path: Path) -> None:
    assert "can not be read" in identify(tmp_path / "gone.safetensors").problem
    assert "can not be read" in identify(tmp_path / "gone.pt", ModelKind.LORA).problem


# -- pickles


def test_only_its_folder_tells_what_a_pickle_is(tmp_path: Path) -> None:
    file = tmp_path / "sepia.pt"
    file.write_bytes(b"\x80\x02cposix\nsystem\n(X\x04\x00\x00\x00exittR.")

    assert identify(file, ModelKind.HYPERNETWORK).kind is ModelKind.HYPERNETWORK
    assert identify(file, ModelKind.HYPERNETWORK).pickled
    assert "convert it" in identify(file).problem


def test_a_compressed_pickle_is_refused(tmp_path: Path) -> None:
    stored, packed = tmp_path / "stored.ckpt", tmp_path / "packed.ckpt"
    for file, how in ((stored, zipfile.ZIP_STORED), (packed, zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(file, "w", how) as archive:
            archive.writestr("archive/data.pkl", bytes(100_000))

    assert identify(stored, ModelKind.CHECKPOINT).problem == ""
    assert "bomb" in identify(packed, ModelKind.CHECKPOINT).problem


HONEST = b"{" + b",".join(
    [
        b'"__metadata__":{"a":"b \\u00e9","ss_tag_frequency":"{\\"x\\": {}}"}',
        b'"t0":{"dtype":"F16","shape":[2,4],"data_offsets":[0,16]}',
        b'"t1": {"dtype": "F8_E4M3", "shape": [], "data_offsets": [16, 17]}',
        b'"t2":{"dtype":"U8","shape":[0],"data_offsets":[17,17]}',
        b'"t3":{"dtype":"BF16","shape":[3,1,1],"data_offsets":[17,23]}}  ',
    ]
)


def test_an_honest_header_is_read_at_one_stroke() -> None:
    read = room._usual(HONEST.decode())

    assert read == room._parsed(HONEST.decode())
    assert read is not None
    assert [tensor.shape for tensor in read.tensors.values()] == [(2, 4), (), (0,), (3, 1, 1)]


@settings(deadline=None)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(HONEST)), st.integers(0, 12), st.sampled_from([*'{}[]",:\\ 0-.e\x00é', '"t0"', "],["])
        ),
        min_size=1,
        max_size=3,
    )
)
def test_the_quick_way_never_takes_what_the_careful_one_refuses(edits: list[tuple[int, int, str]]) -> None:
    text = HONEST.decode()
    for at, gone, new in edits:
        text = text[:at] + new + text[at + gone :]

    try:
        careful = room._parsed(text)
    except (ValueError, KeyError, TypeError, RecursionError):
        careful = None
    try:
        quick = room._usual(text)
    except (ValueError, KeyError, TypeError, RecursionError):
        quick = None

    assert quick in (None, careful)
