"""VAEs beside the checkpoints: every form of file, which fits which, and that the one that was asked for is used."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from easel.catalog import Base
from easel.errors import BadValue, ModelUnusable, RequestError, UnknownModel
from easel.library import WatchedLibrary
from tests.fakes.model_place import Place
from tests.fakes.single_files import VAE, Weights, changed, one_value, save_single, vae_forms, without
from tests.fakes.tiny_models import tiny_checkpoint
from tests.fakes.workshop import asked, difference, photo
from worker.checkpoints.vae import MOST, load_vae
from worker.diffusers_renderer import nothing_kept
from worker.engine.preview import Previewer
from worker.models import Models
from worker.operations.operation import advance
from worker.operations.perform import perform
from worker.operations.tools import Tools

CPU = torch.device("cpu")

SAYS = """
    models:
      house: {kind: vae, path: VAE/house.safetensors}
      foreign: {kind: vae, path: VAE/foreign.safetensors, base: sdxl}
      deep: {kind: vae, path: VAE/deep.safetensors}
      furnished: {kind: checkpoint, path: Stable-diffusion/furnished.safetensors, defaults: {vae: house}}
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_single(tiny_checkpoint(Base.SD15, seed=6), tmp_path_factory.mktemp("vae") / "whole.safetensors")


@pytest.fixture(scope="module")
def models(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    place = Place(tmp_path_factory.mktemp("vaes"))
    own = forms(whole)["plain"]
    (place.models / "VAE").mkdir()
    save_file(own, place.models / "VAE" / "house.safetensors")
    save_file(own, place.models / "VAE" / "foreign.safetensors")
    deeper = {name: one for name, one in own.items() if ".down.3" not in name and ".up.3" not in name}
    save_file(deeper, place.models / "VAE" / "deep.safetensors")
    single = save_single(tiny_checkpoint(Base.SD15), place.models / "Stable-diffusion" / "tiny.safetensors")
    changed(single, place.models / "Stable-diffusion" / "bare.safetensors", without(VAE))
    changed(single, place.models / "Stable-diffusion" / "furnished.safetensors", without(VAE))
    place.says(SAYS)
    return Models(WatchedLibrary(place.settings()), device=CPU)


def forms(whole: Path) -> dict[str, Weights]:
    vae: Any = tiny_checkpoint(Base.SD15, seed=6).vae
    return vae_forms(load_file(whole), vae.state_dict())


@pytest.mark.parametrize("form", ["plain", "prefixed", "other prefix", "diffusers", "old diffusers"])
def test_every_form_of_a_vae_is_the_same(whole: Path, form: str, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file(forms(whole)[form], file)

    vae: Any = load_vae(file, Base.SD15, CPU, torch.float32)

    wanted: Any = tiny_checkpoint(Base.SD15, seed=6).vae
    weights = vae.state_dict()
    assert weights.keys() == wanted.state_dict().keys()
    assert all(torch.equal(weights[name], one) for name, one in wanted.state_dict().items())
    assert vae.config.norm_num_groups == wanted.config.norm_num_groups
    assert not vae.training


def test_the_base_says_how_latents_are_scaled(whole: Path, tmp_path: Path) -> None:
    save_file(forms(whole)["plain"], tmp_path / "x.safetensors")

    small: Any = load_vae(tmp_path / "x.safetensors", Base.SD2, CPU, torch.float32)
    large: Any = load_vae(tmp_path / "x.safetensors", Base.SDXL, CPU, torch.float32)

    assert (small.config.scaling_factor, large.config.scaling_factor) == (0.18215, 0.13025)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda weights: weights | {"decoder.conv_in.weight": torch.zeros(16, 16, 3, 3)}, "has 16 latent channels"),
        (without("decoder.conv_out."), "is damaged or of another kind"),
        (without("encoder.mid.block_1.conv1.bias"), "is incomplete: 1 weights of its vae are missing"),
        (lambda weights: one_value(weights, "decoder.conv_in.weight", float("nan")), "values that are not numbers"),
        (lambda weights: {"emb_params": torch.zeros(2, 768)}, "It is none"),
    ],
)
def test_a_vae_that_can_not_be_used_is_refused(whole: Path, spoil: Any, words: str, tmp_path: Path) -> None:
    save_file(spoil({name: one.clone() for name, one in forms(whole)["plain"].items()}), tmp_path / "x.safetensors")

    with pytest.raises(ModelUnusable, match=f"VAE `x`.*({words})"):
        load_vae(tmp_path / "x.safetensors", Base.SD15, CPU, torch.float32)


def test_the_vae_that_was_asked_for_draws_and_reads_pictures(models: Models) -> None:
    tools = Tools(models, nothing_kept)
    own, house = asked(checkpoint="tiny"), asked(checkpoint="tiny", vae="house")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    plain, drawn = tools.develop(own, latents)[0], tools.develop(house, latents)[0]

    assert difference(plain, drawn) > 0
    wanted: Any = tiny_checkpoint(Base.SD15, seed=6)
    told = Tools(models, nothing_kept)
    told._vaes["tiny", ""] = wanted.vae
    assert difference(drawn, told.develop(own, latents)[0]) <= 1
    assert torch.allclose(tools.encode(house, [photo()]), told.encode(own, [photo()]), atol=1e-4)
    assert not torch.allclose(tools.encode(house, [photo()]), tools.encode(own, [photo()]), atol=1e-4)


def test_a_vae_is_loaded_once_and_the_checkpoint_keeps_its_own(models: Models) -> None:
    checkpoint = models.checkpoint("tiny")

    first = models.vae(asked(vae="house"), checkpoint)

    assert models.vae(asked(vae="house"), checkpoint) is first
    assert models.vae(asked(), checkpoint) is checkpoint.vae
    assert first is not checkpoint.vae
    assert MOST >= 1


def test_a_checkpoint_without_vae_draws_with_one_that_is_named(models: Models) -> None:
    tools = Tools(models, nothing_kept)
    request = asked(checkpoint="bare", vae="house")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    (image,) = tools.develop(request, latents)

    assert difference(image, tools.develop(asked(checkpoint="tiny", vae="house"), latents)[0]) == 0
    assert Previewer().preview(tools.checkpoint(request), latents, tools.kept_vae(request))


def test_a_checkpoint_without_vae_takes_the_one_that_its_card_names(models: Models) -> None:
    checkpoint = models.checkpoint("furnished")

    assert models.vae(asked(), checkpoint) is models.vae(asked(vae="house"), checkpoint)


@pytest.mark.parametrize(
    ("named", "error", "words"),
    [
        ({"checkpoint": "bare"}, ModelUnusable, "comes without a VAE. Please choose one"),
        ({"vae": "foreign"}, BadValue, "`foreign` was not made for checkpoints like `tiny`"),
        ({"vae": "deep"}, BadValue, "`deep` was not made for checkpoints like `tiny`"),
        ({"vae": "nothing"}, UnknownModel, "no VAE called `nothing`"),
    ],
)
def test_what_is_wrong_with_a_vae_is_told_before_anything_is_drawn(
    models: Models, named: dict[str, str], error: type[RequestError], words: str
) -> None:
    request = asked(**{"checkpoint": "tiny"} | named)

    with pytest.raises(error, match=words):
        advance(perform(request, Tools(models, nothing_kept)))
