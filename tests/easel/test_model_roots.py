"""Models in several folders, and in those that ComfyUI's list names."""

from pathlib import Path
from textwrap import dedent

import pytest

from easel.catalog import ModelKind
from easel.errors import ModelsFileError
from easel.library import WatchedLibrary
from easel.model_roots import model_roots
from easel.settings import Settings, load_settings
from tests.fakes.model_place import Place, names
from tests.fakes.weight_files import checkpoint, lora, safetensors

SD15 = checkpoint("sd15")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def listed(place: Place, text: str) -> Settings:
    file = place.models.parent / "extra_model_paths.yaml"
    file.write_text(dedent(text))
    return place.settings().changed(comfyui_paths=file)


def test_folders_of_comfyuis_list_are_looked_into(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    webui, elsewhere = tmp_path / "webui", tmp_path / "nas"
    safetensors(webui / "models" / "Stable-diffusion" / "photo.safetensors", SD15)
    safetensors(webui / "models" / "Lora" / "deep" / "ink.safetensors", lora("sd15"))
    safetensors(webui / "models" / "LyCORIS" / "wash.safetensors", lora("sdxl", "loha"))
    safetensors(webui / "embeddings" / "bad.safetensors", {"emb_params": (1, 768)})
    safetensors(webui / "VAE" / "not_listed.safetensors", {"decoder.conv_in.weight": (8, 4, 3, 3)})
    safetensors(elsewhere / "big.safetensors", {"conv_first.weight": (8, 3, 3, 3)})
    safetensors(place.models / "Lora" / "own.safetensors", lora("sd15"))
    monkeypatch.setenv("EASEL_TEST_NAS", str(elsewhere))
    settings = listed(
        place,
        """\
        # comments are fine
        a111:
            base_path: webui/
            checkpoints: models/Stable-diffusion
            configs: models/Stable-diffusion
            loras: |
                 models/Lora
                 models/LyCORIS
            embeddings: embeddings
            diffusion_models: unet
        nas:
            base_path: $EASEL_TEST_NAS
            upscale_models: .
        empty:
        """,
    )

    library = WatchedLibrary(settings)

    assert {kind.value: names(library.catalog, kind) for kind in ModelKind} == {
        "checkpoint": ["photo"],
        "lora": ["ink", "own", "wash"],
        "embedding": ["bad"],
        "vae": [],
        "hypernetwork": [],
        "controlnet": [],
        "upscaler": ["big"],
    }
    assert library.problems == ()
    ink = library.catalog.model(ModelKind.LORA, "ink")
    assert (ink.path, ink.root) == ("models/Lora/deep/ink.safetensors", "1")
    assert library.path(ink).samefile(webui / "models" / "Lora" / "deep" / "ink.safetensors")
    assert library.path(library.catalog.model(ModelKind.UPSCALER, "big")).samefile(elsewhere / "big.safetensors")

    safetensors(webui / "models" / "LyCORIS" / "new.safetensors", lora("sdxl", "lokr"))

    assert "new" in names(library.refresh(), ModelKind.LORA)


def test_a_folder_that_is_looked_into_twice_is_listed_once(place: Place, tmp_path: Path) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    settings = listed(place, "a:\n  base_path: .\n  loras: |\n    models/Lora\n    models\n    models/Lora\n")

    assert names(WatchedLibrary(settings).catalog, ModelKind.LORA) == ["ink"]


@pytest.mark.parametrize(("first", "root"), [("true", "0"), ("false", "1")])
def test_what_is_default_there_comes_first_here(place: Place, tmp_path: Path, first: str, root: str) -> None:
    safetensors(tmp_path / "other" / "Lora" / "ink.safetensors", lora("sd15"))
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sdxl"))
    place.says("models:\n  ink: {kind: lora, path: Lora/ink.safetensors}\n")
    settings = listed(place, f"a:\n  base_path: other\n  is_default: {first}\n  loras: Lora\n")

    card = WatchedLibrary(settings).catalog.model(ModelKind.LORA, "ink")

    assert model_roots(settings).folders[int(card.root)].name == ("other" if root == "0" else "models")
    assert card.root == "0"


def test_a_listed_link_is_followed_but_links_inside_stay_inside(place: Place, tmp_path: Path) -> None:
    safetensors(tmp_path / "far" / "ink.safetensors", lora("sd15"))
    secret = safetensors(tmp_path / "secret" / "s.safetensors", lora("sd15"))
    (tmp_path / "far" / "leak.safetensors").symlink_to(secret)
    (tmp_path / "comfy").mkdir()
    (tmp_path / "comfy" / "loras").symlink_to(tmp_path / "far")
    settings = listed(place, "a:\n  base_path: comfy\n  loras: loras\n  vae: gone\n")

    library = WatchedLibrary(settings)

    assert names(library.catalog, ModelKind.LORA) == ["ink"]
    assert library.path(library.catalog.model(ModelKind.LORA, "ink")).samefile(tmp_path / "far" / "ink.safetensors")
    assert [problem.rpartition("/")[2] for problem in library.problems] == [
        "leak.safetensors links to a place outside the models folders, or to nothing; it is left out.",
        "gone is not there, or is no folder.",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "extra_model_paths.yaml, line 1: "),
        ("- a", "line 1: must be groups of folders, each with a `base_path:`"),
        ("a: b", "line 1, a: must be a group of folders"),
        ("a:\n  loras: [x]", "line 2, a.loras: must be a folder, or several below each other after a `|`"),
        ("a:\n  loras: x\n  loras: y", "line 3, a.loras: stands twice"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(place: Place, text: str, complaint: str) -> None:
    with pytest.raises(ModelsFileError) as wrong:
        WatchedLibrary(listed(place, text))

    assert complaint in str(wrong.value)


def test_a_list_that_is_not_there_is_said_so(place: Place, tmp_path: Path) -> None:
    settings = load_settings({"EASEL_COMFYUI_PATHS": str(tmp_path / "gone.yaml"), "EASEL_DATA_DIR": str(tmp_path)})

    with pytest.raises(ModelsFileError, match=r"gone\.yaml, line 1: can not be read: No such file"):
        model_roots(settings)
