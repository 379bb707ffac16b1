"""`models.yaml`: what is read, what is refused with line and field, and what survives a change."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easel.catalog import Base, ModelKind
from easel.errors import ModelsFileError
from easel.models_file.changing import change_default, change_entry
from easel.models_file.reading import WatchedModels, checked, read_models_file
from easel.models_file.tree import MAX_BYTES, read_tree

GOOD = """\
# the owner's notes
default: easel-demo   # shown first

models:
  # comes with Easel
  easel-demo:
    kind: checkpoint
    path: Stable-diffusion/easel-demo
    base: sd15
    title: Easel demo
    enlarge: 4   # its pictures are small
    defaults: {steps: 20, cfg_scale: 4, width: 128, height: 128, sampler: DPM++ 2M, schedule: Automatic}

  # for sketches
  pencil:
    kind: lora
    path: Lora/pencil.safetensors
    trigger_words:
      - pencil sketch of
    roles: [123456789012345678]
    # the artist allows it
    notes: |
      line one
      # not a comment

# the end
"""

LORA = {"kind": "lora", "path": "Lora/new.safetensors", "base": "sdxl"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "models.yaml"
    path.write_text(GOOD)
    return path


def read(text: str) -> list[str]:
    return [card.name for card in checked("models.yaml", read_tree("models.yaml", dedent(text).encode())).cards]


def refused(text: str | bytes) -> ModelsFileError:
    with pytest.raises(ModelsFileError) as caught:
        checked("models.yaml", read_tree("models.yaml", text.encode() if isinstance(text, str) else text))
    return caught.value


def test_a_good_file_becomes_cards(file: Path) -> None:
    models = read_models_file(file)

    demo, pencil = models.cards
    assert models.default == "easel-demo"
    assert (demo.kind, demo.base, demo.title, demo.enlarge) == (ModelKind.CHECKPOINT, Base.SD15, "Easel demo", 4)
    assert (demo.defaults.steps, demo.defaults.cfg_scale, demo.defaults.sampler) == (20, 4.0, "DPM++ 2M")
    assert (pencil.trigger_words, pencil.roles) == (("pencil sketch of",), ("123456789012345678",))
    assert pencil.notes == "line one\n# not a comment\n"


def test_a_file_that_is_not_there_or_says_nothing_holds_no_models(tmp_path: Path) -> None:
    assert read_models_file(tmp_path / "models.yaml").cards == ()
    assert read("") == read("# nothing yet\n") == read("models:\n") == read("models: {}\n") == []


@pytest.mark.parametrize(
    "name",
    ["no", "yes", "on", "null", "~", "true", "0123", "1e3", "12:30:45", "0x1F", "1_000", "2001-01-01", "+5", ".inf"],
)
def test_a_name_stays_the_word_that_was_written(name: str) -> None:
    assert read(f"models:\n  {name}: {{kind: lora, path: Lora/a, title: {name}x}}\n") == [name]


def test_words_that_other_readers_take_for_numbers_stay_words_in_text_fields() -> None:
    text = "models:\n  a: {kind: lora, title: 0123, notes: no, trigger_words: [1e3, 12:30:45], nsfw: yes}\n"

    (card,) = checked("models.yaml", read_tree("models.yaml", text.encode())).cards

    assert (card.title, card.notes, card.trigger_words, card.nsfw) == ("0123", "no", ("1e3", "12:30:45"), True)


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("models:\n  a:\n    kind: lora\n    pth: x\n", 4, "models.a.pth", "did you mean `path`"),
        ("models:\n  a:\n    kind: lora\n    zzz: x\n", 4, "models.a.zzz", "known are aliases, autov3, base"),
        ("models:\n  a: {kind: lora, name: b}\n", 2, "models.a.name", "no such field"),
        ("models:\n  a: {kind: lora, root: 0}\n", 2, "models.a.root", "no such field"),
        ("model:\n  a: {kind: lora}\n", 1, "model", "did you mean `models`"),
        ("models:\n  a:\n    path: x\n", 2, "models.a.kind", "is missing"),
        ("models:\n  a:\n    kind: loras\n", 3, "models.a.kind", "'lora'"),
        (
            "models:\n  a:\n    kind: lora\n    enlarge: many\n",
            4,
            "models.a.enlarge",
            "must be a whole number, not `many`",
        ),
        ("models:\n  a:\n    kind: lora\n    enlarge: 9\n", 4, "models.a.enlarge", "less than or equal to 8"),
        ("models:\n  a:\n    kind: lora\n    nsfw: maybe\n", 4, "models.a.nsfw", "`true` or `false`"),
        ("models:\n  a:\n    kind: lora\n    aliases: b\n", 4, "models.a.aliases", "must be a list"),
        ("models:\n  a:\n    kind: lora\n    aliases:\n    - b\n    - [c]\n", 6, "models.a.aliases.1", "a word"),
        ("models:\n  a:\n    kind: lora\n    title: [x]\n", 4, "models.a.title", "a word or a sentence"),
        ("models:\n  a:\n    kind: lora\n    defaults: 3\n", 4, "models.a.defaults", "a group of fields"),
        (
            "models:\n  a:\n    kind: lora\n    defaults:\n      steps: 0\n",
            5,
            "models.a.defaults.steps",
            "greater than or equal to 1",
        ),
        (
            "models:\n  a:\n    kind: lora\n    defaults:\n      cfg: 4\n",
            5,
            "models.a.defaults.cfg",
            "did you mean `cfg_scale`",
        ),
        ("models:\n  a:\n    kind: lora\n    defaults: {width: 100}\n", 4, "models.a.defaults.width", "multiple of 8"),
        (
            "models:\n  a:\n    kind: lora\n    defaults: {cfg_scale: .nan}\n",
            4,
            "models.a.defaults.cfg_scale",
            "number",
        ),
        ("models:\n  a:\n    kind: lora\n    path: ../../etc/passwd\n", 4, "models.a.path", "stays in it"),
        ("models:\n  a:\n    kind: lora\n    path: /etc/passwd\n", 4, "models.a.path", "stays in it"),
        ("models:\n  a:\n    kind: lora\n    path: 'C:/x'\n", 4, "models.a.path", "stays in it"),
        ("models:\n  a/b:\n    kind: lora\n", 2, "models.a/b", "no slash"),
        ("models:\n  a:\n    kind: lora\n    kind: vae\n", 4, "models.a.kind", "stands twice, first in line 3"),
        ("models:\n  a: {kind: lora}\n  b: {kind: lora}\n  a: {kind: vae}\n", 4, "models.a", "first in line 2"),
        ("models:\n  a: lora\n", 2, "models.a", "group of fields"),
        ("models: [a]\n", 1, "models", "group of entries"),
        ("default: [a]\n", 1, "default", "name of a checkpoint"),
        ("- a\n", 1, "", "must begin with `models:`"),
        ("models:\n  a:\n    kind: 'lora\n", 4, "", "end of stream"),
        ("models:\n  a:\n    kind: lora\n   path: x\n", 4, "", "column"),
        ("models:\n\ta: 1\n", 2, "", "\\t"),
        ("models:\n  a: {kind: lora, title: \x07}\n", 2, "", "control character"),
        ("a: 1\n---\nb: 2\n", 2, "", "second document"),
        ("models: *here\n", 1, "models", "nothing above"),
        ("models: &a [*a]\n", 1, "models.0", "nothing above"),
        ("models:\n  ? [a]\n  : b\n", 2, "models", "plain word"),
        ("models:\n  a: b\u2028c\n", 2, "", "invisible"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_field(text: str, line: int, field: str, words: str) -> None:
    error = refused(text)

    assert (error.line, error.field) == (line, field)
    assert words in str(error)
    assert str(error).startswith(f"models.yaml, line {line}")


def test_text_that_is_not_utf8_is_refused() -> None:
    assert refused(b"models:\n  a: {kind: lora, title: \xe9}\n").line == 2


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!mine", "!!binary", "!!int"]
)
def test_tags_are_refused(tag: str) -> None:
    assert "tags such as" in str(refused(f"models:\n  a:\n    kind: {tag} ['touch x']\n"))


def test_aliases_may_share_defaults() -> None:
    assert read("""\
        models:
          a: {kind: checkpoint, defaults: &xl {width: 1024, height: 1024}}
          b: {kind: checkpoint, defaults: *xl}
        """) == ["a", "b"]


@pytest.mark.parametrize(
    "bomb",
    [
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
        "[" * 20_000,
        "[[\n" * 10_000,
        "- " * 20_000,
        "{a: " * 20_000,
        "? " * 20_000,
        "- [" * 20_000,
        "\n".join(" " * depth + "a:" for depth in range(1000)),
        "a: " + "x" * MAX_BYTES,
    ],
    ids=["aliases", "lists", "lists in lines", "dashes", "braces", "keys", "mixed", "indents", "size"],
)
def test_bombs_are_refused_at_once(bomb: str) -> None:
    refused("[]")
    started = time.thread_time()

    refused(bomb)

    # Ten times the 50 ms that it may take, for a busy machine; without the bounds each takes seconds or all memory.
    assert time.thread_time() - started < 0.5


def test_a_new_entry_is_written_below_the_others_and_the_rest_stays_as_it_was(file: Path) -> None:
    change_entry(file, "new", LORA)

    added = "  new:\n    kind: lora\n    path: Lora/new.safetensors\n    base: sdxl\n"
    assert file.read_text() == GOOD.replace("      # not a comment\n", "      # not a comment\n" + added)
    assert file.with_name("models.yaml.bak").read_text() == GOOD


def test_changing_a_field_keeps_every_comment(file: Path) -> None:
    change_entry(file, "easel-demo", {"enlarge": 2, "defaults": {"steps": 30, "vae": "clear"}, "title": None})

    expected = (
        GOOD.replace("enlarge: 4 ", "enlarge: 2 ")
        .replace("steps: 20", "steps: 30")
        .replace("    title: Easel demo\n", "")
    )
    assert file.read_text() == expected.replace("schedule: Automatic}", "schedule: Automatic, vae: clear}")


def test_removing_an_entry_keeps_what_stands_around_it(file: Path) -> None:
    change_entry(file, "easel-demo", None)
    change_entry(file, "pencil", None)

    assert file.read_text() == (
        "# the owner's notes\ndefault: easel-demo   # shown first\n\nmodels:\n  # comes with Easel\n\n"
        "  # for sketches\n\n# the end\n"
    )


def test_removing_what_is_not_there_changes_nothing(file: Path) -> None:
    change_entry(file, "nobody", None)

    assert file.read_text() == GOOD
    assert not file.with_name("models.yaml.bak").exists()


@pytest.mark.parametrize(
    "start",
    [
        "",
        "# mine\n",
        "models:\n",
        "models: {}\n",
        "models: {}   # none yet\n",
        "models: ~\ndefault: new\n",
        "default: new",
        None,
    ],
)
def test_the_first_entry_finds_its_place(tmp_path: Path, start: str | None) -> None:
    file = tmp_path / "models.yaml"
    if start is not None:
        file.write_text(start)

    change_entry(file, "new", LORA)

    assert [card.name for card in read_models_file(file).cards] == ["new"]
    assert all(line in file.read_text() for line in (start or "").splitlines() if line.startswith("#"))


@pytest.mark.parametrize(
    "odd", ["0123", "1e3", "no", "+5", "null", '"d\\u00e9"', "'q'", "12:30:45", "k" * 150, "2001-01-01", "a b", ".inf"]
)
def test_an_odd_name_is_written_back_as_it_was(tmp_path: Path, odd: str) -> None:
    file = tmp_path / "models.yaml"
    text = f"models:\n  {odd}:\n    kind: lora\n    title: 1e999\n    notes: +5\n"
    file.write_text(text)
    (card,) = read_models_file(file).cards

    change_entry(file, card.name, {"nsfw": True})

    assert file.read_text() == text + "    nsfw: true\n"


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\x85\u2028\u2029\ufeff"), max_size=60
)


@given(title=TEXT, words=st.lists(TEXT, max_size=3), notes=TEXT, negative=TEXT)
def test_any_text_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, title: str, words: list[str], notes: str, negative: str
) -> None:
    file = tmp_path_factory.mktemp("any") / "models.yaml"
    fields = {**LORA, "title": title, "trigger_words": words, "notes": notes, "defaults": {"negative_prompt": negative}}

    change_entry(file, "first", LORA)
    (_, card) = change_entry(file, "any", fields).cards

    assert (card.title, card.trigger_words, card.notes) == (title, tuple(words), notes)
    assert card.defaults.negative_prompt == negative
    assert read_models_file(file).cards[1] == card


@pytest.mark.parametrize("fields", [{"kind": "lora", "steps": 3}, {"kind": "lora", "path": "../x"}, {"kind": "no"}])
def test_a_change_that_would_be_wrong_is_refused_and_nothing_is_written(file: Path, fields: dict[str, object]) -> None:
    with pytest.raises(ModelsFileError, match=r"models\.new"):
        change_entry(file, "new", fields)

    assert file.read_text() == GOOD


def test_entries_in_braces_are_left_to_people(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models: {a: {kind: lora}}\n")

    with pytest.raises(ModelsFileError, match="by hand"):
        change_entry(file, "new", LORA)


def test_an_entry_that_others_lean_on_can_not_be_taken_away(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    text = "models:\n  a:\n    kind: lora\n    defaults: &d {steps: 3}\n  b:\n    kind: lora\n    defaults: *d\n"
    file.write_text(text)

    with pytest.raises(ModelsFileError, match="nothing above"):
        change_entry(file, "a", None)
    with pytest.raises(ModelsFileError, match="by hand"):
        change_entry(file, "b", {"nsfw": True})

    assert file.read_text() == text


def test_a_change_that_would_touch_a_second_entry_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "models:\n  a: {kind: lora, defaults: &d {steps: 3}}\n  b: {kind: lora, defaults: &d {steps: 4}}\n"
        "  c: {kind: lora, defaults: *d}\n"
    )

    with pytest.raises(ModelsFileError, match="would change b and c"):
        change_entry(file, "b", None)


def test_the_default_checkpoint_can_be_named(file: Path, tmp_path: Path) -> None:
    change_default(file, "pencil")
    change_default(tmp_path / "other.yaml", "null")

    assert read_models_file(file).default == "pencil"
    assert file.read_text().splitlines()[1].split() == ["default:", "pencil", "#", "shown", "first"]
    assert read_models_file(tmp_path / "other.yaml").default == "null"


def test_a_default_that_does_not_stand_alone_is_left_to_people(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("default: 'one\n  two'\n")

    with pytest.raises(ModelsFileError, match="by hand"):
        change_default(file, "pencil")


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a place that refuses writing")
def test_a_place_that_refuses_writing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelsFileError, match="can not be changed"):
        change_entry(Path("/proc/self/models.yaml"), "new", LORA)


def test_a_link_to_the_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    file.chmod(0o640)

    change_entry(link, "new", LORA)

    assert link.is_symlink()
    assert "new:" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_wrong_edit_leaves_the_last_good_state_in_use(file: Path) -> None:
    watched = WatchedModels(file)
    good = watched.current()

    file.write_text(GOOD.replace("enlarge: 4", "enlarge: 40"))

    assert watched.current() is good
    assert "line 11, models.easel-demo.enlarge" in watched.problem

    file.write_text(GOOD.replace("enlarge: 4", "enlarge: 8"))

    assert watched.current().cards[0].enlarge == 8
    assert watched.problem == ""


def test_a_file_that_vanishes_leaves_the_last_good_state_in_use(file: Path) -> None:
    watched = WatchedModels(file)

    file.unlink()

    assert len(watched.current().cards) == 2
    assert "is gone" in watched.problem


def test_a_file_that_is_wrong_from_the_start_is_not_used(file: Path) -> None:
    file.write_text("models: [")

    with pytest.raises(ModelsFileError):
        WatchedModels(file)


WRITER = """
import sys
from pathlib import Path
from easel.models_file.changing import change_entry

print("ready", flush=True)
for number in range(int(sys.argv[3])):
    fields = {"kind": "lora", "path": f"Lora/{sys.argv[2]}{number}.safetensors"}
    change_entry(Path(sys.argv[1]), f"{sys.argv[2]}-{number}", fields)
"""


def writer(file: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(file), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_changes_of_four_processes_at_once_all_arrive_and_every_reader_finds_a_whole_file(file: Path) -> None:
    writers = [writer(file, f"w{number}", 25) for number in range(4)]
    sizes = []
    while any(one.poll() is None for one in writers):
        sizes.append(len(read_models_file(file).cards))
        time.sleep(0.01)

    assert [one.returncode for one in writers] == [0] * 4
    for one in writers:
        one.communicate()
    names = {card.name for card in read_models_file(file).cards}
    assert names == {"easel-demo", "pencil", *(f"w{w}-{number}" for w in range(4) for number in range(25))}
    assert sizes == sorted(sizes)
    assert [line for line in file.read_text().splitlines() if "#" in line] == [
        line for line in GOOD.splitlines() if "#" in line
    ]


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(file: Path) -> None:
    seen = len(read_models_file(file).cards)
    for attempt in range(12):
        process = writer(file, f"w{attempt}", 1000)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()

        now = len(read_models_file(file).cards)
        assert now >= seen
        assert read_models_file(file.with_name("models.yaml.bak")).cards is not None
        seen = now

    change_entry(file, "after", LORA)

    assert "# the artist allows it" in file.read_text()
    assert len(read_models_file(file).cards) == seen + 1


def test_every_fact_of_a_checkpoint_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "models:\n  a: {kind: checkpoint, in_channels: 9, zero_snr: true, prediction_type: v_prediction,\n"
        "      context_dim: 1024, enlarge: 2, nsfw: true, autov3: 0123456789ab, roles: [1], chats: [-100]}\n"
    )

    (card,) = read_models_file(file).cards

    assert (card.in_channels, card.zero_snr, card.autov3, card.context_dim) == (9, True, "0123456789ab", 1024)
    assert (card.roles, card.chats) == (("1",), ("-100",))
    file.write_text("models:\n  a: {kind: checkpoint, in_channels: 8}\n")
    with pytest.raises(ModelsFileError, match=r"line 2, models\.a\.in_channels: must be 4 or 9"):
        read_models_file(file)
