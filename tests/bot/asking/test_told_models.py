"""Models named in a pasted text: by hash where they are called otherwise here, by name, and told where they are not here."""

import pytest

from bot.asking.draft import draft
from bot.asking.told import told_by
from easel.catalog import ModelKind
from easel.errors import BadValue, UnknownModel
from tests.fakes.wardrobe import SHA, card, wardrobe

CATALOG = wardrobe()
SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Size: 512x512"


@pytest.mark.parametrize(
    ("tag", "hashes", "found"),
    [
        ("<lora:somebodys:0.8>", f'Lora hashes: "somebodys: {SHA["film"][:12]}"', "<lora:film:0.8>"),
        ("<lora:Somebodys:0.8:0.2>", f'Lora hashes: "Somebodys: {SHA["film"][:10]}, x: 123456"', "<lora:film:0.8:0.2>"),
        ("<lora:add_detail:1>", f'Lora hashes: "add_detail: {SHA["film"][:12]}"', "<lora:film:1>"),
        ("<lora:add_detail:1>", 'Lora hashes: "add_detail: 999999999999"', "<lora:add_detail:1>"),
        ("<lyco:film>", f'Lora hashes: "film: {SHA["film"][:12]}"', "<lyco:film>"),
        ("(their-hands:1.1)", f'TI hashes: "their-hands: {SHA["bad"][:12]}"', "(bad-hands:1.1)"),
        ("", "Hypernet: gold, Hypernet strength: 0.5", "<hypernet:gold:0.5>"),
    ],
)
def test_networks_are_known_by_their_hashes_before_their_names(tag: str, hashes: str, found: str) -> None:
    request = draft({"prompt": f"a cat {tag}\n{SETTINGS}, {hashes}"}, CATALOG).request

    assert request.prompt.replace(" <", "<") == f"a cat {found}".replace(" <", "<")


@pytest.mark.parametrize(
    ("said", "vae"),
    [
        ("VAE: clear.safetensors", "clear"),
        (f"VAE hash: {SHA['clear'][:10]}, VAE: their.vae.pt", "clear"),
        (f"VAE hash: {SHA['clear'][:10]}", "clear"),
        ("VAE: Automatic, Model: hills", "hills.vae"),
        ("Model: hills", "hills.vae"),
        ("VAE: clear, Model: hills", "clear"),
    ],
)
def test_a_vae_is_known_by_hash_or_name(said: str, vae: str) -> None:
    drafted = draft({"prompt": f"a cat\n{SETTINGS}, {said}"}, CATALOG)

    assert (drafted.request.vae, drafted.notes) == (vae, ())


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("VAE: lost.pt", "The VAE `lost.pt` is not here; the usual one takes its place."),
        ("VAE: xl-vae", "The VAE `xl-vae` was left out: it was not made for checkpoints like `coast`."),
        ('TI hashes: "lost: 1234567890"', "The embedding `lost` is not here; its name counts as plain words."),
    ],
)
def test_what_is_not_here_is_told(said: str, note: str) -> None:
    drafted = draft({"prompt": f"a lost cat\n{SETTINGS}, {said}"}, CATALOG)

    assert drafted.notes == (note,)
    assert (drafted.request.vae, drafted.request.prompt) == ("", "a lost cat")


def test_a_lora_that_is_not_here_is_refused_as_one_that_was_typed() -> None:
    text = f'a cat <lora:flim:1>\n{SETTINGS}, Lora hashes: "flim: 999999999999"'

    with pytest.raises(UnknownModel, match=r"no LoRA called `flim`. Did you mean `film`"):
        draft({"prompt": text}, CATALOG)
    with pytest.raises(BadValue, match=r"`film` was made for SD 1\.5"):
        draft({"prompt": f"a <lora:film:1>\n{SETTINGS}, Model: dreamy-xl"}, CATALOG)


def test_of_two_copies_the_one_of_that_name_is_meant() -> None:
    twin = card("a-film", ModelKind.LORA, autov3=SHA["film"][:12])
    text = f'<lora:film:1>\n{SETTINGS}, Lora hashes: "film: {SHA["film"][:12]}"'

    assert told_by(text, wardrobe(twin), named=False).fields["prompt"] == "<lora:film:1>"


def test_a_negative_prompt_of_another_program_may_hold_anything() -> None:
    drafted = draft({"prompt": f"a cat\nNegative prompt: <lora:lost:1> fog\n{SETTINGS}"}, CATALOG)

    assert drafted.request.negative_prompt == "<lora:lost:1> fog"
