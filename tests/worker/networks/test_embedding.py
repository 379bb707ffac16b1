import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable
from easel.library import WatchedLibrary
from tests.fakes.model_place import Place
from tests.fakes.prompts import only
from tests.fakes.workshop import Workshop, asked
from worker.conditioning.embeddings import Embedding, Embeddings
from worker.conditioning.encoder import Encoder
from worker.models import Models
from worker.networks.embedding import Heard, Vocabulary, read_embedding
from worker.pickles import child

SD15 = ModelCard(name="coast", kind=ModelKind.CHECKPOINT, base=Base.SD15, context_dim=768)
SDXL = ModelCard(name="large", kind=ModelKind.CHECKPOINT, base=Base.SDXL, context_dim=2048)


def saved(path: Path, **tensors: Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # As files are replaced: whole, and never written over.
    save_file(tensors, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    return path


@pytest.mark.parametrize(
    ("tensors", "shapes"),
    [
        ({"emb_params": torch.ones(3, 768)}, {768: 3}),
        ({"emb_params": torch.ones(1024, dtype=torch.float16)}, {1024: 1}),
        ({"<neon>": torch.ones(192)}, {192: 1}),
        ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, {768: 2, 1280: 2}),
        ({"clip_g": torch.ones(1280).bfloat16(), "clip_l": torch.ones(768).bfloat16()}, {768: 1, 1280: 1}),
        ({"text_encoders_0": torch.ones(2, 768), "text_encoders_1": torch.ones(2, 1280)}, {768: 2, 1280: 2}),
    ],
)
def test_every_form_of_file_gives_vectors_by_width(
    tmp_path: Path, tensors: dict[str, Tensor], shapes: dict[int, int]
) -> None:
    vectors = read_embedding(saved(tmp_path / "neon.safetensors", **tensors), "neon")

    assert {width: tuple(one.shape) for width, one in vectors.items()} == {
        width: (count, width) for width, count in shapes.items()
    }
    assert all(one.dtype is torch.float32 and bool((one == 1).all()) for one in vectors.values())


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"emb_params": torch.full((1, 768), torch.nan)}, "not numbers"),
        ({"emb_params": torch.ones(1, 768, dtype=torch.int8)}, "calculated with"),
        ({"emb_params": torch.ones(76, 768)}, "76 words"),
        ({"emb_params": torch.ones(1, 1, 768)}, "laid out"),
        ({"emb_params": torch.ones(0, 768)}, "laid out"),
        ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(1, 1280)}, "belong together"),
        ({"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 768)}, "belong together"),
        ({"a": torch.ones(1, 768), "b": torch.ones(1, 768)}, "2 tensors"),
    ],
)
def test_what_is_no_usable_embedding_is_told_in_a_sentence(
    tmp_path: Path, tensors: dict[str, Tensor], why: str
) -> None:
    with pytest.raises(ModelUnusable, match=f"The embedding `neon` can not be used.*{why}"):
        read_embedding(saved(tmp_path / "neon.safetensors", **tensors), "neon")


def test_an_old_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"string_to_param": {"*": torch.ones(1, 768)}}, tmp_path / "neon.pt")

    with pytest.raises(ModelUnusable, match="can run code"):
        read_embedding(tmp_path / "neon.pt", "neon")


def test_what_a1111_pickled_is_read_once_it_is_converted(tmp_path: Path) -> None:
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2, 768)}, "name": "neon", "step": 500}
    torch.save(content, tmp_path / "neon.pt")

    child.converted(tmp_path / "neon.pt", tmp_path / "neon.safetensors", {})

    assert torch.equal(read_embedding(tmp_path / "neon.safetensors", "neon")[768], torch.ones(2, 768))


class Shelf:
    """Embeddings in a models folder, and what prompts hear of them."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder)
        self.folder = self.place.models / "embeddings"
        self.library = WatchedLibrary(self.place.settings())
        self.vocabulary = Vocabulary(self.library)

    def hear(self, *texts: str, checkpoint: ModelCard = SD15) -> Heard:
        self.library.refresh()
        widths = (768, 1280) if checkpoint is SDXL else (checkpoint.context_dim,)
        return self.vocabulary.heard(texts, checkpoint, widths)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def pieces(heard: Heard, text: str) -> list[tuple[str, list[float]]]:
    return [
        (words, one.vectors[768][:, 0].tolist() if one else [])
        for words, one in heard.embeddings.split(text)
        if words.strip()
    ]


def test_an_embedding_that_arrives_is_heard_by_the_next_prompt_and_its_change_too(shelf: Shelf) -> None:
    text = "a NEON cat"
    assert pieces(shelf.hear(text), text) == [(text, [])]

    path = saved(shelf.folder / "Neon.safetensors", emb_params=torch.ones(2, 768))
    arrived = shelf.hear(text)

    assert pieces(arrived, text) == [("a ", []), ("NEON", [1, 1]), (" cat", [])]
    assert [card.name for card in arrived.cards] == ["Neon"]
    assert arrived.notes == ()
    saved(path, emb_params=torch.full((1, 768), 2.0))
    os.utime(path, ns=(1, 1))
    assert pieces(shelf.hear(text), "neon") == [("neon", [2])]
    path.unlink()
    assert pieces(shelf.hear(text), text) == [(text, [])]


def test_an_embedding_stays_the_same_object_while_its_file_does(shelf: Shelf) -> None:
    saved(shelf.folder / "neon.safetensors", emb_params=torch.ones(1, 768))

    (_, first), (_, second) = (list(shelf.hear("neon").embeddings.split("neon"))[1] for _ in range(2))

    assert first is second


def test_an_embedding_is_heard_by_its_alias(shelf: Shelf) -> None:
    saved(shelf.folder / "neon_v3.safetensors", emb_params=torch.ones(1, 768))
    shelf.place.says("models: {neon light: {kind: embedding, path: embeddings/neon_v3.safetensors, aliases: [glow]}}")

    heard = shelf.hear("Glow, neon light", "(neon_v3:1.2)")

    assert [card.name for card in heard.cards] == ["neon light"]
    assert [words for words, _ in pieces(heard, "glow in neon light, neon_v3") if _] == [
        "glow",
        "neon light",
        "neon_v3",
    ]


def test_one_of_another_width_is_read_as_words_and_noted(shelf: Shelf) -> None:
    saved(shelf.folder / "neon.safetensors", emb_params=torch.ones(1, 1024))
    saved(shelf.folder / "half.safetensors", emb_params=torch.ones(1, 1280))

    heard = shelf.hear("neon", "neon cat")

    assert heard.notes == (
        "The embedding `neon` was not made for checkpoints like `coast`. Its name was read as plain words.",
    )
    assert pieces(heard, "neon") == [("neon", [])]
    assert heard.cards == ()
    # Half of an SDXL embedding fits by its card, and not by its vectors.
    assert "`half` was not made for" in shelf.hear("half", checkpoint=SDXL).notes[0]


def test_of_one_name_the_file_for_the_checkpoint_is_heard(shelf: Shelf) -> None:
    saved(shelf.folder / "sd" / "neon.safetensors", emb_params=torch.ones(1, 768))
    saved(shelf.folder / "xl" / "neon.safetensors", clip_l=torch.full((1, 768), 2.0), clip_g=torch.ones(1, 1280))

    assert pieces(shelf.hear("neon"), "neon") == [("neon", [1])]
    assert pieces(shelf.hear("neon", checkpoint=SDXL), "neon") == [("neon", [2])]


def test_a_broken_file_is_noted_and_harms_no_prompt(shelf: Shelf) -> None:
    saved(shelf.folder / "bad.safetensors", emb_params=torch.full((1, 768), torch.inf))

    heard = shelf.hear("a bad cat")

    assert pieces(heard, "a bad cat") == [("a bad cat", [])]
    assert heard.notes[0].startswith("The embedding `bad` can not be used: it holds values that are not numbers.")


def test_a_file_that_is_gone_since_the_last_look_is_noted(shelf: Shelf) -> None:
    path = saved(shelf.folder / "neon.safetensors", emb_params=torch.ones(1, 768))
    shelf.hear("neon")
    path.unlink()

    heard = shelf.vocabulary.heard(["neon"], SD15, (768,))

    (note,) = heard.notes
    assert note.startswith("The file of `neon` is gone")
    assert note.endswith("Its name was read as plain words.")


def test_a_device_hears_what_arrived_after_it_loaded_its_checkpoint(workshop: Workshop, tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.roots += workshop.library.models_dirs
    place.says("models: {tiny: {kind: checkpoint, path: Stable-diffusion/tiny, base: sd15}}")
    library = WatchedLibrary(place.settings())
    models = Models(library, device=torch.device("cpu"))
    tiny, request = models.checkpoint("tiny"), asked(prompt="a neon cat")
    plain = models.plan(request, tiny)

    saved(place.models / "embeddings" / "Neon.safetensors", emb_params=torch.ones(2, 32))
    library.refresh()

    known = Embeddings({"neon": Embedding("neon", {32: torch.ones(2, 32)})})
    told = models.plan(request, tiny)
    assert torch.equal(only(told).embeds, only(Encoder(tiny).plan(request, embeddings=known)).embeds)
    assert not torch.equal(only(told).embeds, only(plain).embeds)
    assert [card.name for card in models.heard(request, tiny).cards] == ["Neon"]
