"""Old pickles in the models folders: what the catalog says of them, and what is loaded for them."""

import logging
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable
from easel.library import WatchedLibrary
from tests.fakes.esrgan_files import OldEsrgan
from tests.fakes.model_place import Place, names
from tests.fakes.pickled import lightning, payloads, saved
from tests.fakes.tiny_models import tiny_checkpoint
from worker.checkpoints.single_file import read_file
from worker.checkpoints.writing import file_weights, parts_of
from worker.pickles.converter import Converter
from worker.upscale.hot import UpscalerCache

EMBEDDING = {"string_to_param": {"*": torch.ones(2, 1024)}, "name": "x"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def library(place: Place, *, allowed: bool = True) -> WatchedLibrary:
    return WatchedLibrary(place.settings().changed(allow_pickles=allowed), convert=Converter(place.data))


def put(place: Place, where: str, content: bytes) -> Path:
    path = place.models / where
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_where_pickles_are_off_the_owner_is_told_what_to_do(place: Place) -> None:
    put(place, "embeddings/bad.pt", saved(EMBEDDING))
    card = ModelCard(name="bad", kind=ModelKind.EMBEDDING, path="embeddings/bad.pt", root="0")

    shut = library(place, allowed=False)

    assert names(shut.catalog, ModelKind.EMBEDDING) == []
    assert len(shut.problems) == 1
    assert "embeddings/bad.pt can not be used. This is an old .pt file" in shut.problems[0]
    assert "install the .safetensors version, or set EASEL_ALLOW_PICKLES=1" in shut.problems[0]
    with pytest.raises(ModelUnusable, match=r"The embedding `bad` can not be used\. This is an old \.pt file"):
        shut.path(card)
    assert not (place.data / "converted").exists()


def test_a_pickle_is_loaded_as_what_it_was_turned_into(place: Place) -> None:
    published = OldEsrgan(1)
    put(place, "ESRGAN/sharp.pth", saved({"params_ema": published.state_dict()}))
    found = library(place)
    cache = UpscalerCache(found.path, device=torch.device("cpu"))

    loaded = cache.get(found.catalog.model(ModelKind.UPSCALER, "sharp"))

    pixels = torch.rand(1, 3, 9, 7)
    torch.testing.assert_close(loaded(pixels), published(pixels), rtol=0, atol=1e-6)


def test_an_old_checkpoint_gives_the_same_weights_and_its_base(place: Place) -> None:
    weights = file_weights(parts_of(tiny_checkpoint(Base.SD2)))
    save_file({name: one.contiguous() for name, one in weights.items()}, place.models / "new.safetensors")
    with lightning() as callback:
        content = {"state_dict": weights, "callbacks": {callback: callback()}, "global_step": 1}
        put(place, "Stable-diffusion/old.ckpt", saved(content))
    found = library(place)

    path = found.path(found.catalog.checkpoint("old"))
    card = found.glance().checkpoint("old")

    assert (card.base, card.path) == (Base.SD2, "Stable-diffusion/old.ckpt")
    read, same = read_file(path, card), read_file(place.models / "new.safetensors", card)
    for (name, part), (_, expected) in zip(read.modules, same.modules, strict=True):
        assert part.weights.keys() == expected.weights.keys()
        assert all(torch.equal(part.weights[key], one) for key, one in expected.weights.items()), name


def test_once_converted_its_weights_tell_what_it_is(place: Place) -> None:
    put(place, "embeddings/bad.pt", saved(EMBEDDING))
    put(place, "hypernetworks/odd.pt", saved(EMBEDDING | {"step": 2}))
    found = library(place)
    before = found.catalog

    path = found.path(before.model(ModelKind.EMBEDDING, "bad"))
    with pytest.raises(ModelUnusable, match="the kind of `odd` is embedding, not hypernetwork"):
        found.path(before.model(ModelKind.HYPERNETWORK, "odd"))
    after = found.glance()

    assert path.parent == place.data / "converted"
    assert before.model(ModelKind.EMBEDDING, "bad").base is None
    assert after.model(ModelKind.EMBEDDING, "bad").base is Base.SD2
    assert names(after, ModelKind.EMBEDDING) == ["bad", "odd"]
    assert names(after, ModelKind.HYPERNETWORK) == []
    assert found.glance() is after
    assert found.path(after.model(ModelKind.EMBEDDING, "odd")).is_file()


def test_what_can_not_be_converted_is_listed_with_the_reason_until_it_changes(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    evil = put(place, "VAE/evil.pt", payloads(place.models / "ran")["os.system"])
    found = library(place)
    card = found.catalog.model(ModelKind.VAE, "evil")

    with pytest.raises(ModelUnusable, match=r"The VAE `evil` can not be used\. It asks for `posix\.system`"):
        found.path(card)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(ModelUnusable, match=r"posix\.system"):
        found.path(card)
    with caplog.at_level(logging.WARNING):
        found.glance()

    assert names(found.catalog, ModelKind.VAE) == []
    assert any("VAE/evil.pt can not be used. It asks for" in record.message for record in caplog.records)
    assert not (place.models / "ran").exists()

    monkeypatch.undo()
    evil.write_bytes(saved({"state_dict": {"decoder.conv_in.weight": torch.ones(8, 4, 3, 3)}}))
    assert found.path(found.refresh().model(ModelKind.VAE, "evil")).is_file()


def test_safetensors_under_the_name_of_a_pickle_are_used_as_they_are(place: Place) -> None:
    path = place.models / "embeddings" / "bad.pt"
    path.parent.mkdir()
    save_file({"emb_params": torch.ones(2, 768)}, path)
    shut = library(place, allowed=False)

    card = shut.catalog.model(ModelKind.EMBEDDING, "bad")

    assert card.base is Base.SD15
    assert shut.path(card).samefile(path)


def test_a_safetensors_file_keeps_the_plain_name_beside_a_converted_pickle(place: Place) -> None:
    put(place, "embeddings/bad.pt", saved(EMBEDDING))
    save_file({"emb_params": torch.ones(2, 768)}, place.models / "embeddings" / "bad.safetensors")
    found = library(place)

    found.path(found.catalog.model(ModelKind.EMBEDDING, "bad-pt"))

    bases = {card.name: card.base for card in found.refresh().cards(ModelKind.EMBEDDING)}
    assert bases == {"bad": Base.SD15, "bad-pt": Base.SD2}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><title>Log in</title>", "a web page, not a model: was a login needed?"),
        (b"", "The file is empty"),
        (b"PK\x03\x04abcd", "not a zip file"),
        (bytes(8), "not a whole model"),
    ],
    ids=["web page", "empty", "begins as a zip", "zeros"],
)
def test_a_file_that_is_something_else_is_called_what_it_is(content: bytes, words: str, place: Place) -> None:
    put(place, "Stable-diffusion/photo.ckpt", content)

    found = library(place)

    assert words in found.problems[0]
    assert names(found.catalog) == []
