"""What lies in the models folders, joined with what `models.yaml` says about it."""

import json
import logging
import os
import time
from pathlib import Path

import pytest

from easel.catalog import Base, Defaults, ModelCard, ModelKind
from easel.errors import ModelsFileError
from easel.library import MEMORY, WatchedLibrary, load_catalog
from easel.model_folders import walked
from easel.models_file.changing import change_entry
from tests.fakes.model_place import Place, names
from tests.fakes.weight_files import checkpoint, lora, safetensors

SD15, SDXL = checkpoint("sd15"), checkpoint("sdxl")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# -- files without an entry


def test_a_damaged_or_foreign_file_is_not_listed_and_said_so(place: Place) -> None:
    safetensors(place.models / "Stable-diffusion" / "flux.safetensors", {"double_blocks.0.x": (1,)})
    cut = safetensors(place.models / "Stable-diffusion" / "cut.safetensors", SD15)
    cut.write_bytes(cut.read_bytes()[:-10])

    catalog, problems = place.load()

    assert names(catalog) == []
    assert [problem.split(" can not")[0] for problem in problems] == [
        "Stable-diffusion/cut.safetensors",
        "Stable-diffusion/flux.safetensors",
    ]
    assert "still being copied" in problems[0]
    assert "Flux" in problems[1]


def test_a_file_in_the_wrong_folder_is_listed_as_what_it_is(place: Place) -> None:
    safetensors(place.models / "Stable-diffusion" / "sketch.safetensors", lora("sd15"))

    catalog, problems = place.load()

    assert names(catalog, ModelKind.LORA) == ["sketch"]
    assert problems == [
        "Stable-diffusion/sketch.safetensors lies in a folder for checkpoint, but is a LoRA; it is listed as that."
    ]


@pytest.mark.parametrize(
    ("shapes", "name", "defaults"),
    [
        (checkpoint("sd15"), "a", Defaults(width=512, height=512)),
        (checkpoint("sd2"), "a", Defaults(width=512, height=512)),
        (checkpoint("sd2") | {"v_pred": ()}, "a", Defaults(width=768, height=768)),
        (checkpoint("sdxl"), "a", Defaults(width=1024, height=1024)),
        (checkpoint("sdxl"), "xlLightning", Defaults(width=1024, height=1024, steps=8, cfg_scale=2)),
        (checkpoint("sd15"), "lcm", Defaults(width=512, height=512, steps=8, cfg_scale=1.5)),
        (lora("sdxl"), "lightning", Defaults()),
    ],
)
def test_defaults_come_from_base_and_family(
    place: Place, shapes: dict[str, tuple[int, ...]], name: str, defaults: Defaults
) -> None:
    safetensors(place.models / "Stable-diffusion" / f"{name}.safetensors", shapes)

    (card,) = place.load()[0].all

    assert card.defaults == defaults


# -- sidecars

CIVITAI = {
    "id": 128713,
    "modelId": 4384,
    "name": "8",
    "baseModel": "SD 1.5",
    "trainedWords": ["ink wash", "", 3],
    "model": {"name": "Ink", "type": "LORA", "nsfw": True},
}


def test_sidecars_tell_what_the_weights_do_not(place: Place) -> None:
    file = safetensors(place.models / "Lora" / "ink.safetensors", lora("sdxl"), {"modelspec.title": "no"})
    said = CIVITAI | {
        "baseModel": "Pony",
        "files": [
            {"sizeKB": 1, "hashes": {"SHA256": "00" * 32}},
            {"sizeKB": file.stat().st_size / 1024, "hashes": {"SHA256": "AB" * 32}},
        ],
    }
    (place.models / "Lora" / "ink.civitai.info").write_text(json.dumps(said))
    user = {"activation text": "other words", "notes": "be gentle", "sd version": "SD1"}
    (place.models / "Lora" / "ink.json").write_text(json.dumps(user))
    (place.models / "Lora" / "ink.preview.png").touch()

    (card,) = place.catalog().all

    assert (card.title, card.trigger_words, card.nsfw, card.family) == ("Ink 8", ("ink wash",), True, "pony")
    assert card.source == "https://civitai.com/models/4384?modelVersionId=128713"
    assert (card.sha256, card.notes, card.preview) == ("ab" * 32, "be gentle", "Lora/ink.preview.png")
    assert card.base is Base.SDXL


def test_a_sidecar_does_not_overrule_the_weights(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sdxl"))
    (place.models / "Lora" / "ink.civitai.info").write_text(json.dumps(CIVITAI))

    assert place.catalog().all[0].base is Base.SDXL


def test_a_sidecar_tells_the_base_where_the_weights_do_not(place: Place) -> None:
    safetensors(place.models / "Lora" / "old_xl.safetensors", lora("sd15", "oft"))
    (place.models / "Lora" / "old_xl.json").write_text('{"sd version": "SD2"}')

    assert place.catalog().all[0].base is Base.SD2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "null",
        "[" * 100_000,
        '{"model": [], "files": {"a": 1}, "trainedWords": "x", "baseModel": 3, "id": true, "modelId": "1"}',
        '{"files": [null, {"hashes": 3, "sizeKB": "x"}, {"sizeKB": 0.5, "hashes": {"SHA256": 5}}]}',
        '{"name": "\\ud800\\u0000\\n", "trainedWords": [["x"], null]}',
    ],
)
def test_a_sidecar_that_is_none_is_not_believed(place: Place, text: str) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    (place.models / "Lora" / "ink.civitai.info").write_text(text)

    (card,) = place.catalog().all

    assert (card.title, card.trigger_words, card.source, card.sha256) == ("", (), "", "")


def test_a_changed_sidecar_is_read_again(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    before = place.catalog().all[0]
    (place.models / "Lora" / "ink.json").write_text('{"activation text": "ink wash"}')

    after = place.catalog().all[0]

    assert (before.trigger_words, after.trigger_words) == ((), ("ink wash",))


# -- entries


def test_an_entry_tells_what_the_file_can_not(place: Place) -> None:
    file = safetensors(place.models / "Stable-diffusion" / "photo_v8.safetensors", SDXL, {"modelspec.title": "file"})
    place.says("""\
        default: photo
        models:
          photo:
            kind: checkpoint
            path: Stable-diffusion/photo_v8.safetensors
            title: Photo
            family: pony
            nsfw: true
            roles: [123]
            defaults: {steps: 30, width: 896}
        """)

    (card,) = place.catalog().all

    assert (card.name, card.title, card.family, card.nsfw, card.roles) == ("photo", "Photo", "pony", True, ("123",))
    assert card.defaults == Defaults(steps=30, width=896, height=1024)
    assert (card.base, card.context_dim, card.file_size) == (Base.SDXL, 2048, file.stat().st_size)


def test_an_entry_without_a_path_means_the_file_of_its_name(place: Place) -> None:
    safetensors(place.models / "Lora" / "deep" / "ink.safetensors", lora("sd15"))
    place.says("models:\n  ink: {kind: lora, title: Ink}\n")

    (card,) = place.catalog().all

    assert (card.title, card.path) == ("Ink", "Lora/deep/ink.safetensors")


def test_an_entry_may_overrule_a_sidecar(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    (place.models / "Lora" / "ink.civitai.info").write_text(json.dumps(CIVITAI))
    place.says("models:\n  ink: {kind: lora, nsfw: false, trigger_words: []}\n")

    (card,) = place.catalog().all

    assert (card.nsfw, card.trigger_words, card.title) == (False, (), "Ink 8")


def test_an_entry_that_mistakes_its_file_is_put_right(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sdxl"))
    place.says("models:\n  ink: {kind: vae, base: sd15, path: Lora/ink.safetensors}\n")

    catalog, problems = place.load()

    assert [(card.kind, card.base) for card in catalog.all] == [(ModelKind.LORA, Base.SDXL)]
    assert problems == [
        "models.yaml, `ink`: says kind vae, but the file is lora.",
        "models.yaml, `ink`: says base sd15, but the file is sdxl.",
    ]


def test_an_entry_knows_the_base_better_than_a_file_name(place: Place) -> None:
    safetensors(place.models / "VAE" / "xl_clear.safetensors", {"decoder.conv_in.weight": (8, 4, 3, 3)})
    place.says("models:\n  xl_clear: {kind: vae, base: sd15}\n")

    assert place.catalog().all[0].base is Base.SD15


@pytest.mark.parametrize("path", ["Lora/gone.safetensors", "Lora/cut.safetensors", ""])
def test_an_entry_whose_file_can_not_be_used_is_kept_but_reported(place: Place, path: str) -> None:
    cut = safetensors(place.models / "Lora" / "cut.safetensors", lora("sd15"))
    cut.write_bytes(cut.read_bytes()[:-1])
    place.says(f"models:\n  ink: {{kind: lora, title: Ink, path: '{path}'}}\n")

    catalog, problems = place.load()

    (card,) = catalog.all
    assert (card.title, card.installed) == ("Ink", False)
    assert any("models.yaml, `ink`" in problem for problem in problems)


def test_an_entry_may_point_anywhere_inside_the_models_folders(place: Place, tmp_path: Path) -> None:
    safetensors(place.models / "mine" / "ink.safetensors", lora("sd15"))
    (place.models / "mine" / "leak.safetensors").symlink_to(safetensors(tmp_path / "x.safetensors", lora("sd15")))
    place.says("""\
        models:
          ink: {kind: lora, path: mine/ink.safetensors}
          leak: {kind: lora, path: mine/leak.safetensors}
          folder: {kind: lora, path: mine}
        """)

    catalog, problems = place.load()

    assert {card.name: card.installed for card in catalog.all} == {"ink": True, "leak": False, "folder": False}
    assert len(problems) == 2


def test_a_file_does_not_take_the_name_of_an_entry(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    safetensors(place.models / "Lora" / "other.safetensors", lora("sd15"))
    place.says("models:\n  ink: {kind: lora, path: Lora/other.safetensors}\n")

    cards = place.catalog().cards(ModelKind.LORA)

    assert {card.name: card.path for card in cards} == {
        "ink": "Lora/other.safetensors",
        "ink-Lora": "Lora/ink.safetensors",
    }


def test_a_default_that_does_not_exist_is_reported(place: Place) -> None:
    safetensors(place.models / "Stable-diffusion" / "photo.safetensors", SD15)
    place.says("default: phto\n")

    catalog, problems = place.load()

    assert problems == ["models.yaml, default: There is no checkpoint called `phto`. Did you mean `photo`?"]
    assert catalog.default_checkpoint.name == "photo"


def test_what_comes_with_easel_is_whole() -> None:
    root = Path(__file__).parents[2]
    catalog, problems = load_catalog([root / "models"], root / "models.yaml", Path("/nonexistent"))

    assert problems == []
    assert catalog.default_checkpoint.name == "easel-demo"
    assert catalog.default_checkpoint.installed


# -- memory


def test_an_unchanged_file_is_not_looked_into_again(place: Place) -> None:
    file = safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    before = place.catalog()
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert place.catalog().all == before.all

    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    assert place.load()[0].all == ()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"version": 1}', '{"version": 1, "files": {"a": 3}}', '{"version": 99}', "[" * 9999]
)
def test_a_memory_that_is_damaged_is_forgotten(place: Place, text: str) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    place.data.mkdir()
    (place.data / MEMORY).write_text(text)

    assert names(place.catalog(), ModelKind.LORA) == ["ink"]


def test_wrong_facts_in_the_memory_are_looked_up_again(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    place.catalog()
    memory = place.data / MEMORY
    memory.write_text(memory.read_text().replace('"lora"', '"nonsense"'))

    assert names(place.catalog(), ModelKind.LORA) == ["ink"]


def test_what_is_gone_is_forgotten(place: Place) -> None:
    file = safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    place.catalog()
    file.unlink()

    assert place.catalog().all == ()
    assert json.loads((place.data / MEMORY).read_text())["files"] == {}


def test_a_data_folder_that_can_not_be_written_only_costs_time(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    place.data.write_text("a file where a folder should be")

    assert names(place.catalog(), ModelKind.LORA) == ["ink"]


def test_ten_thousand_unchanged_files_are_scanned_in_two_seconds(place: Place) -> None:
    first = safetensors(place.models / "Lora" / "l0.safetensors", lora("sd15")).read_bytes()
    for number in range(1, 10_000):
        folder = place.models / "Lora" / f"sub{number % 50}"
        folder.mkdir(exist_ok=True)
        (folder / f"l{number}.safetensors").write_bytes(first)
    place.load()

    started = time.process_time()
    catalog = place.catalog()
    seconds = time.process_time() - started

    assert len(catalog.all) == 10_000
    # 2 s on a free core; five times that on a busy one.
    assert seconds < 10


# -- watching


def test_a_watched_library_sees_new_files_and_new_entries(place: Place) -> None:
    library = WatchedLibrary(place.settings())
    empty = library.catalog

    assert library.refresh() is empty

    safetensors(place.models / "Stable-diffusion" / "photo.safetensors", SD15)
    assert names(library.refresh()) == ["photo"]

    change_entry(place.file, "nice", {"kind": "checkpoint", "path": "Stable-diffusion/photo.safetensors"})
    assert names(library.refresh()) == ["nice"]
    assert library.path(library.catalog.checkpoint("nice")).is_file()


def test_a_wrong_edit_keeps_the_catalog_and_tells_the_owner_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    safetensors(place.models / "Stable-diffusion" / "photo.safetensors", SD15)
    place.says("models:\n  photo: {kind: checkpoint, roles: [1]}\n")
    library = WatchedLibrary(place.settings())

    place.says("models:\n  photo: {kind: checkpoint, roles: [1}\n")
    with caplog.at_level(logging.WARNING):
        library.refresh()
        library.refresh()

    assert library.catalog.checkpoint("photo").roles == ("1",)
    assert len(caplog.records) == 1
    assert "models.yaml, line 2" in library.problems[0]

    place.says("models:\n  photo: {kind: checkpoint, roles: [2]}\n")

    assert library.refresh().checkpoint("photo").roles == ("2",)
    assert library.problems == ()


def test_a_library_does_not_start_without_its_access_rules(place: Place) -> None:
    place.says("models: [")

    with pytest.raises(ModelsFileError):
        WatchedLibrary(place.settings())


def test_a_glance_sees_an_edit_at_once_and_a_new_file_soon(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors(place.models / "Stable-diffusion" / "sub" / "photo.safetensors", SD15)
    library = WatchedLibrary(place.settings())
    walks = count_walks(monkeypatch)

    assert library.glance() is library.catalog
    place.says("models:\n  photo: {kind: checkpoint, title: Photo}\n")
    assert library.glance().checkpoint("photo").title == "Photo"
    assert walks == [1]

    safetensors(place.models / "Stable-diffusion" / "sub" / "new.safetensors", SD15)
    library.glance()
    assert walks == [1]
    monkeypatch.setattr(library, "_glance_due", 0.0)
    assert names(library.glance()) == ["new", "photo"]

    monkeypatch.setattr(library, "_glance_due", 0.0)
    library.glance()
    assert walks == [1, 1]


def count_walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    walks: list[int] = []
    monkeypatch.setattr("easel.library.walked", lambda *words: (walks.append(1), walked(*words))[1])
    return walks


def test_a_file_that_was_still_being_copied_is_seen_as_soon_as_it_is_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = safetensors(place.models / "Stable-diffusion" / "photo.safetensors", SD15)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    library = WatchedLibrary(place.settings())
    assert "still being copied" in library.problems[0]

    file.write_bytes(whole)
    monkeypatch.setattr(library, "_glance_due", 0.0)
    assert names(library.glance()) == ["photo"]
    assert library.problems == ()


def test_cards_of_a_real_library_travel_as_json(place: Place) -> None:
    safetensors(place.models / "Stable-diffusion" / "photo.safetensors", SDXL)

    (card,) = place.catalog().all

    assert ModelCard.model_validate_json(card.model_dump_json()) == card
