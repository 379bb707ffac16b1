"""Where model files are looked for, which links are followed, and what the files are called."""

import os
from pathlib import Path

import pytest

from easel.catalog import Base, Defaults, ModelKind
from easel.errors import ModelUnusable
from easel.library import locate
from tests.fakes.model_place import Place, names
from tests.fakes.weight_files import checkpoint, lora, safetensors

SD15 = checkpoint("sd15")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_every_folder_of_the_usual_layout_is_looked_into(place: Place) -> None:
    safetensors(place.models / "Stable-diffusion" / "sub" / "photo.safetensors", SD15)
    safetensors(place.models / "Lora" / "sketch.safetensors", lora("sd15"))
    safetensors(place.models / "LyCORIS" / "ink.safetensors", lora("sdxl", "loha"))
    safetensors(place.models / "embeddings" / "bad.safetensors", {"emb_params": (2, 768)})
    safetensors(place.models / "VAE" / "clear.safetensors", {"decoder.conv_in.weight": (8, 4, 3, 3)})
    safetensors(place.models / "ControlNet" / "pose.safetensors", {"control_model.out.weight": (1,)})
    safetensors(place.models / "ESRGAN" / "big.safetensors", {"conv_first.weight": (8, 3, 3, 3)})
    (place.models / "hypernetworks").mkdir()
    (place.models / "hypernetworks" / "sepia.pt").write_bytes(b"\x80\x02}.")
    safetensors(place.models / "loras" / "comfy.safetensors", lora("sd2"))
    safetensors(place.models / "elsewhere" / "unseen.safetensors", SD15)

    catalog = place.catalog()

    assert {kind.value: names(catalog, kind) for kind in ModelKind} == {
        "checkpoint": ["photo"],
        "lora": ["comfy", "ink", "sketch"],
        "embedding": ["bad"],
        "vae": ["clear"],
        "hypernetwork": ["sepia"],
        "controlnet": ["pose"],
        "upscaler": ["big"],
    }
    photo = catalog.checkpoint("photo")
    assert (photo.path, photo.root, photo.base) == ("Stable-diffusion/sub/photo.safetensors", "0", Base.SD15)
    assert photo.file_size == (place.models / photo.path).stat().st_size
    assert locate(photo, place.roots).samefile(place.models / photo.path)


def test_unfinished_hidden_and_other_files_are_left_out(place: Place) -> None:
    folder = place.models / "Stable-diffusion"
    safetensors(folder / "a.safetensors", SD15)
    for name in ("b.safetensors.part", "c.part", ".d.safetensors", "vocab.json", "merges.txt", "Put models here.txt"):
        safetensors(folder / name, SD15)
    safetensors(folder / ".cache" / "e.safetensors", SD15)

    assert names(place.catalog()) == ["a"]


def test_files_of_one_name_are_told_apart(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    safetensors(place.models / "Lora" / "xl" / "ink.safetensors", lora("sdxl"))
    safetensors(place.models / "Lora" / "a" / "xl" / "ink.safetensors", lora("sdxl"))
    (place.models / "Lora" / "ink.pt").write_bytes(b"\x80\x02}.")
    safetensors(place.models / "embeddings" / "ink.safetensors", {"emb_params": (1, 768)})

    catalog = place.catalog()

    cards = catalog.cards(ModelKind.LORA)
    assert {card.name: card.path for card in cards} == {
        "ink": "Lora/a/xl/ink.safetensors",
        "ink-Lora": "Lora/ink.safetensors",
        "ink-xl": "Lora/xl/ink.safetensors",
        "ink-pt": "Lora/ink.pt",
    }
    assert names(catalog, ModelKind.EMBEDDING) == ["ink"]


def test_names_never_run_out(place: Place) -> None:
    for number in range(4):
        safetensors(place.models / "Lora" / str(number) / "xl" / "ink.safetensors", lora("sdxl"))

    assert names(place.catalog(), ModelKind.LORA) == ["ink", "ink-2", "ink-3", "ink-xl"]


def test_the_same_file_in_two_models_folders_is_listed_twice_the_first_folder_with_the_plain_name(place: Place) -> None:
    second = place.models.with_name("more")
    place.roots.append(second)
    for root in place.roots:
        safetensors(root / "Lora" / "ink.safetensors", lora("sd15"))

    cards = place.catalog().cards(ModelKind.LORA)

    assert [(card.name, card.root) for card in cards] == [("ink", "0"), ("ink-Lora", "1")]


def test_a_name_that_can_not_be_typed_is_said(place: Place) -> None:
    for name in (b"a\nb.safetensors", b"a\xff.safetensors", b"a\\b.safetensors"):
        safetensors(place.models / "Lora" / os.fsdecode(name), lora("sd15"))

    catalog, problems = place.load()

    assert catalog.all == ()
    assert len(problems) == 3
    assert all("can not be used under this name" in problem and problem.isprintable() for problem in problems)


def test_the_longest_file_name_still_gives_a_name(place: Place) -> None:
    safetensors(place.models / "Lora" / f"{'x' * 240}.safetensors", lora("sd15"))

    assert [len(name) for name in names(place.catalog(), ModelKind.LORA)] == [150]


def test_a_models_folder_that_is_not_there_is_said(place: Place) -> None:
    place.roots.append(place.models / "gone")

    assert "gone can not be read" in place.load()[1][0]


def test_links_lead_only_to_places_inside_the_models_folders(place: Place, tmp_path: Path) -> None:
    outside = safetensors(tmp_path / "outside" / "secret.safetensors", SD15)
    inside = safetensors(place.models / "store" / "photo.safetensors", SD15)
    folder = place.models / "Stable-diffusion"
    folder.mkdir()
    (folder / "good.safetensors").symlink_to(inside)
    (folder / "bad.safetensors").symlink_to(outside)
    (folder / "badfolder").symlink_to(outside.parent)
    (folder / "broken.safetensors").symlink_to(folder / "nothing")
    (place.models / "Lora").symlink_to(outside.parent)

    catalog, problems = place.load()

    assert names(catalog) == ["good"]
    assert sorted(problem.split()[0].rpartition("/")[2] for problem in problems) == [
        "Lora",
        "bad.safetensors",
        "badfolder",
        "broken.safetensors",
    ]


def test_a_second_models_folder_makes_its_files_reachable_by_link(place: Place, tmp_path: Path) -> None:
    store = tmp_path / "store"
    safetensors(store / "photo.safetensors", SD15)
    (place.models / "Stable-diffusion").symlink_to(store)
    place.roots.append(store)

    assert names(place.catalog()) == ["photo"]


def test_links_in_circles_end(place: Place) -> None:
    folder = place.models / "Lora"
    safetensors(folder / "ink.safetensors", lora("sd15"))
    (folder / "again").symlink_to(folder)
    (folder / "up").symlink_to(place.models)
    (folder / "self").symlink_to(folder / "self")

    catalog, _ = place.load()

    assert names(catalog, ModelKind.LORA) == ["ink"]


def test_a_diffusers_folder_is_one_checkpoint_and_its_parts_may_not_lead_outside(place: Place, tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "easel-demo"
    for name in ("demo.v1", "leak"):
        folder = place.models / "Stable-diffusion" / name
        for file in demo.rglob("*"):
            if file.is_file():
                copy = folder / file.relative_to(demo)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
    (place.models / "Stable-diffusion" / "leak" / "vae" / "more.safetensors").symlink_to(tmp_path / "x")
    (tmp_path / "x").touch()
    (place.models / "Stable-diffusion" / "demo.v1.preview.png").touch()

    catalog, problems = place.load()

    assert names(catalog) == ["demo.v1"]
    assert catalog.checkpoint("demo.v1").preview == "Stable-diffusion/demo.v1.preview.png"
    assert catalog.checkpoint("demo.v1").defaults == Defaults(width=128, height=128)
    assert len(problems) == 1


def _hub_folder(root: Path, name: str, *revisions: str) -> Path:
    """Write a repository of one diffusers checkpoint as Hugging Face's library does, every file a link to a blob."""
    demo = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "easel-demo"
    folder = root / name
    (folder / "blobs").mkdir(parents=True)
    for revision in revisions:
        for number, file in enumerate(file for file in demo.rglob("*") if file.is_file()):
            blob = folder / "blobs" / f"{number:040x}"
            blob.write_bytes(file.read_bytes())
            link = folder / "snapshots" / revision / file.relative_to(demo)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    return folder


def test_a_hugging_face_cache_is_a_models_folder_too(place: Place) -> None:
    old, new = "a" * 40, "b" * 40
    folder = _hub_folder(place.models, "models--studio--photo-v1.5", old, new)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(old)
    single = place.models / "Stable-diffusion" / "models--studio--single"
    blob = safetensors(single / "blobs" / "c0ffee", SD15)
    (single / "snapshots" / new).mkdir(parents=True)
    (single / "snapshots" / new / "ink.safetensors").symlink_to(blob)

    catalog = place.catalog()

    assert names(catalog) == ["ink", "photo-v1.5"]
    card = catalog.checkpoint("photo-v1.5")
    assert card.path == f"models--studio--photo-v1.5/snapshots/{old}"
    assert (locate(card, place.roots) / "model_index.json").is_file()


def test_the_links_of_a_hugging_face_cache_lead_only_to_places_inside(place: Place, tmp_path: Path) -> None:
    outside = safetensors(tmp_path / "secret.safetensors", SD15)
    snapshot = place.models / "models--studio--leak" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "leak.safetensors").symlink_to(outside)

    catalog, problems = place.load()

    assert catalog.all == ()
    assert "outside the models folders" in problems[0]


def test_a_card_is_located_only_inside_the_models_folders(place: Place, tmp_path: Path) -> None:
    file = safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    (card,) = place.catalog().all

    file.unlink()
    with pytest.raises(ModelUnusable, match="is gone"):
        locate(card, place.roots)
    file.symlink_to(safetensors(tmp_path / "x.safetensors", lora("sd15")))
    with pytest.raises(ModelUnusable, match="link out of"):
        locate(card, place.roots)
    with pytest.raises(ModelUnusable, match="not in the models folders"):
        locate(card.changed(root=""), place.roots)
    with pytest.raises(ModelUnusable, match="not in the models folders"):
        locate(card.changed(root="7"), place.roots)
