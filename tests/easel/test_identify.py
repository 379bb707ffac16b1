"""What a weights file is, told from its header, and which lies a header can not tell."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from easel.catalog import Base, ModelKind
from easel.identify.file import identify
from easel.identify.identified import base_of, family_of
from tests.fakes.weight_files import UNET, Shapes, checkpoint, lora, safetensors

CHECKPOINT, LORA, EMBEDDING, VAE = ModelKind.CHECKPOINT, ModelKind.LORA, ModelKind.EMBEDDING, ModelKind.VAE
CONTROLNET, HYPERNETWORK, UPSCALER = ModelKind.CONTROLNET, ModelKind.HYPERNETWORK, ModelKind.UPSCALER
SD15, SD2, SDXL = Base.SD15, Base.SD2, Base.SDXL

Said = tuple[ModelKind, Base | None, dict[str, Any]]


def vae(latent: int = 4, prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {f"{prefix}encoder.conv_in.weight": (8, 3, 3, 3), f"{prefix}decoder.conv_in.weight": (8, latent, 3, 3)}


def diffusers_lora(base: Base, down: str, up: str) -> dict[str, tuple[int, ...]]:
    width = {SD15: 768, SD2: 1024, SDXL: 2048}[base]
    block = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v"
    return {f"{block}.{down}": (4, width), f"{block}.{up}": (8, 4)}


def kohya_text_lora(width: int) -> dict[str, tuple[int, ...]]:
    key = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    return {f"{key}.lora_down.weight": (4, width), f"{key}.lora_up.weight": (width, 4)}


KNOWN: dict[str, tuple[Shapes, Said]] = {
    "sd15": (checkpoint("sd15"), (CHECKPOINT, SD15, {"context_dim": 768, "prediction_type": "epsilon"})),
    "sd15 inpainting": (checkpoint("sd15", channels=9), (CHECKPOINT, SD15, {"in_channels": 9})),
    "sd15 tiny": (checkpoint("sd15", context=32), (CHECKPOINT, SD15, {"context_dim": 32})),
    "sd15 with ema": (
        checkpoint("sd15") | {"model_ema.decay": (), "model_ema.num_updates": ()},
        (CHECKPOINT, SD15, {}),
    ),
    "sd15 without vae": (
        {name: shape for name, shape in checkpoint("sd15").items() if not name.startswith("first_stage")},
        (CHECKPOINT, SD15, {}),
    ),
    "sdxl inpainting of averages only": (
        {
            "model_ema." + name.removeprefix("model.").replace(".", "") if name.startswith(UNET) else name: shape
            for name, shape in checkpoint("sdxl", channels=9).items()
        },
        (CHECKPOINT, SDXL, {"in_channels": 9, "context_dim": 2048}),
    ),
    "sd15 with old text keys": (
        {name.replace("transformer.text_model.", "transformer."): shape for name, shape in checkpoint("sd15").items()},
        (CHECKPOINT, SD15, {}),
    ),
    "sd2": (checkpoint("sd2"), (CHECKPOINT, SD2, {"context_dim": 1024})),
    "sd2 inpainting": (checkpoint("sd2", channels=9), (CHECKPOINT, SD2, {"in_channels": 9})),
    "sd2 tiny": (checkpoint("sd2", context=64), (CHECKPOINT, SD2, {})),
    "sdxl": (checkpoint("sdxl"), (CHECKPOINT, SDXL, {"context_dim": 2048, "prediction_type": "epsilon"})),
    "sdxl inpainting": (checkpoint("sdxl", channels=9), (CHECKPOINT, SDXL, {"in_channels": 9})),
    "sdxl tiny": (checkpoint("sdxl", context=96), (CHECKPOINT, SDXL, {})),
    "sdxl v-prediction": (
        checkpoint("sdxl") | {"v_pred": (), "ztsnr": ()},
        (CHECKPOINT, SDXL, {"prediction_type": "v_prediction"}),
    ),
    **{
        f"{algorithm} {base}": (lora(base, algorithm), (LORA, Base(base), {"algorithm": algorithm}))
        for algorithm in ("lora", "locon", "dora", "loha", "lokr", "full")
        for base in ("sd15", "sd2", "sdxl")
    },
    "oft": (lora("sdxl", "oft"), (LORA, SDXL, {"algorithm": "oft"})),
    "glora": (lora("sdxl", "glora"), (LORA, SDXL, {"algorithm": "glora"})),
    "ia3": (lora("sdxl", "ia3"), (LORA, SDXL, {"algorithm": "ia3"})),
    "peft lora sd15": (diffusers_lora(SD15, "lora_A.weight", "lora_B.weight"), (LORA, SD15, {"algorithm": "lora"})),
    "peft lora sd2": (diffusers_lora(SD2, "lora_A.weight", "lora_B.weight"), (LORA, SD2, {})),
    "peft lora sdxl": (diffusers_lora(SDXL, "lora_A.weight", "lora_B.weight"), (LORA, SDXL, {})),
    "diffusers lora": (diffusers_lora(SD15, "lora.down.weight", "lora.up.weight"), (LORA, SD15, {"algorithm": "lora"})),
    "old diffusers lora": (
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": (4, 768)},
        (LORA, None, {}),
    ),
    "text lora sd15": (kohya_text_lora(768), (LORA, SD15, {})),
    "text lora sd2": (kohya_text_lora(1024), (LORA, SD2, {})),
    "text lora sdxl": (
        {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)},
        (LORA, SDXL, {}),
    ),
    "demo lora": (
        {"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight": (16, 192)},
        (LORA, None, {"context_dim": 192}),
    ),
    "embedding sd15": ({"emb_params": (3, 768)}, (EMBEDDING, SD15, {"vectors": 3, "context_dim": 768})),
    "embedding sd2": ({"emb_params": (1, 1024)}, (EMBEDDING, SD2, {"vectors": 1})),
    "embedding sdxl": (
        {"clip_l": (5, 768), "clip_g": (5, 1280)},
        (EMBEDDING, SDXL, {"vectors": 5, "context_dim": 2048}),
    ),
    "embedding half sdxl": ({"emb_params": (2, 1280)}, (EMBEDDING, SDXL, {"vectors": 2})),
    "embedding by word": ({"<cat-toy>": (768,)}, (EMBEDDING, SD15, {"vectors": 1})),
    "embedding of the demo": ({"<neon>": (1, 192)}, (EMBEDDING, None, {"context_dim": 192})),
    "vae": (vae(), (VAE, None, {})),
    "vae with prefix": (vae(prefix="first_stage_model."), (VAE, None, {})),
    "hypernetwork sd15": (
        {"768.0.linear.0.weight": (8, 768), "768.1.linear.0.weight": (8, 768), "320.0.linear.0.weight": (8, 320)},
        (HYPERNETWORK, SD15, {"context_dim": 768}),
    ),
    "hypernetwork sd2": ({"1024.0.linear.0.weight": (8, 1024)}, (HYPERNETWORK, SD2, {})),
    "old hypernetwork": ({"768.0.linear1.weight": (8, 768)}, (HYPERNETWORK, SD15, {})),
    "controlnet": (
        {
            "control_model.input_blocks.0.0.weight": (8, 4, 3, 3),
            "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
        },
        (CONTROLNET, SD15, {}),
    ),
    "controlnet with its checkpoint": (
        checkpoint("sd15") | {"control_model.input_hint_block.0.weight": (8, 3, 3, 3)},
        (CONTROLNET, SD15, {}),
    ),
    "controlnet of diffusers": (
        {
            "controlnet_cond_embedding.conv_in.weight": (8, 3, 3, 3),
            "conv_in.weight": (8, 4, 3, 3),
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (8, 2048),
        },
        (CONTROLNET, SDXL, {}),
    ),
    "esrgan": ({"conv_first.weight": (8, 3, 3, 3), "body.0.rdb1.conv1.weight": (8, 8, 3, 3)}, (UPSCALER, None, {})),
    "old esrgan": (
        {"model.0.weight": (8, 3, 3, 3), "model.1.sub.0.RDB1.conv1.0.weight": (8, 8, 3, 3)},
        (UPSCALER, None, {}),
    ),
    "compact": ({"body.0.weight": (8, 3, 3, 3), "body.1.weight": (8,)}, (UPSCALER, None, {})),
}


FOREIGN: dict[str, tuple[Shapes, str]] = {
    "sd3": ({f"{UNET}joint_blocks.0.context_block.attn.qkv.weight": (8, 8)}, "Stable Diffusion 3"),
    "sd3 lora": ({"transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight": (4, 8)}, "Stable Diffusion 3"),
    "flux": ({"double_blocks.0.img_attn.qkv.weight": (8, 8)}, "Flux"),
    "flux lora": ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": (4, 8)}, "Flux"),
    "flux lora of diffusers": (
        {
            "transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight": (4, 8),
            "transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": (4, 8),
        },
        "Flux",
    ),
    "chroma": ({"distilled_guidance_layer.in_proj.weight": (8, 8), "double_blocks.0.x": (8,)}, "Chroma"),
    "cascade": ({f"{UNET}clf.1.weight": (8, 8), "down_blocks.0.0.channelwise.0.weight": (8, 8)}, "Stable Cascade"),
    "qwen": ({"transformer_blocks.0.img_mod.1.weight": (8, 8)}, "Qwen-Image"),
    "wan": ({"blocks.0.cross_attn.k.weight": (8, 8), "head.modulation": (1, 2, 8)}, "Wan"),
    "animatediff": ({"down_blocks.0.motion_modules.0.x.weight": (8, 8)}, "AnimateDiff"),
    "video": ({f"{UNET}input_blocks.1.0.time_stack.in_layers.0.weight": (8,)}, "Stable Video Diffusion"),
    "ip adapter": ({"ip_adapter.1.to_k_ip.weight": (8, 768)}, "IP-Adapter"),
    "sd3 embedding": ({"clip_l": (1, 768), "clip_g": (1, 1280), "t5xxl": (1, 4096)}, "Stable Diffusion 3 or Flux"),
    "flux vae": (vae(16), "16 latent channels"),
    "pix2pix": (checkpoint("sd15", channels=8), "InstructPix2Pix"),
    "depth": (checkpoint("sd2", channels=5), "depth-guided"),
    "refiner": (checkpoint("sdxl", context=1280), "SDXL refiner"),
    "cut-down sdxl": (
        {name: shape for name, shape in checkpoint("sdxl").items() if "middle_block" not in name}
        | {f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3)},
        "SSD-1B or Vega",
    ),
    "too many vectors": ({"emb_params": (129, 768)}, "Nothing in it looks like a model"),
    "unclip": (checkpoint("sdxl", context=1024), "unCLIP"),
    "diffusers unet": ({"down_blocks.0.resnets.0.conv1.weight": (8, 8, 3, 3)}, "only a UNet"),
    "text encoder": ({"text_model.encoder.layers.0.mlp.fc1.weight": (8, 8)}, "only a text encoder"),
    "something else": ({"bert.pooler.dense.weight": (8, 8)}, "Nothing in it looks like a model"),
}


@pytest.mark.parametrize(("shapes", "said"), KNOWN.values(), ids=KNOWN)
def test_what_easel_uses_is_known_by_names_and_shapes(tmp_path: Path, shapes: Shapes, said: Said) -> None:
    kind, base, facts = said

    seen = identify(safetensors(tmp_path / "x.safetensors", shapes))

    assert (seen.kind, seen.base, seen.problem) == (kind, base, "")
    assert {name: getattr(seen, name) for name in facts} == facts
    assert not seen.hinted


@pytest.mark.parametrize(("shapes", "words"), FOREIGN.values(), ids=FOREIGN)
def test_what_easel_can_not_use_is_called_by_its_name(tmp_path: Path, shapes: Shapes, words: str) -> None:
    seen = identify(safetensors(tmp_path / "x.safetensors", shapes))

    assert words in seen.problem
    assert seen.problem.endswith(".")


def test_the_place_of_a_file_does_not_change_what_it_is(tmp_path: Path) -> None:
    file = safetensors(tmp_path / "x.safetensors", checkpoint("sdxl"))

    assert identify(file, LORA).kind is CHECKPOINT


def test_an_enlarger_of_unknown_make_is_one_only_in_its_folder(tmp_path: Path) -> None:
    file = safetensors(tmp_path / "x.safetensors", {"to_feat.weight": (8, 3, 3, 3)})

    assert identify(file, UPSCALER).kind is UPSCALER
    assert identify(file, VAE).problem


# -- what trainers and names say


def test_a_trainer_tells_trigger_words_and_title(tmp_path: Path) -> None:
    metadata = {"modelspec.trigger_phrase": "pencil sketch of", "modelspec.title": " Pencil "}

    seen = identify(safetensors(tmp_path / "x.safetensors", lora("sd15"), metadata))

    assert (seen.trigger_words, seen.title) == (("pencil sketch of",), "Pencil")


def test_tags_under_nearly_every_picture_are_trigger_words(tmp_path: Path) -> None:
    tags = {"10_dog": {" sks dog": 40, "sitting": 10}, "5_dog": {"sks dog": 20, "grass": 60, "sky": 7}}
    metadata = {"ss_tag_frequency": json.dumps(tags)}

    assert identify(safetensors(tmp_path / "x.safetensors", lora("sd15"), metadata)).trigger_words == (
        "sks dog",
        "grass",
    )


@pytest.mark.parametrize(
    "tags", ["", "[", "[]", "3", '{"a": 1}', '{"a": {"b": []}}', '{"a": {"b": "x"}}', "[" * 5000, "{}"]
)
def test_tags_that_are_no_tags_are_left_out(tmp_path: Path, tags: str) -> None:
    seen = identify(safetensors(tmp_path / "x.safetensors", lora("sd15"), {"ss_tag_frequency": tags}))

    assert (seen.trigger_words, seen.problem) == ((), "")


def test_a_trainer_tells_the_base_only_where_the_weights_do_not(tmp_path: Path) -> None:
    says_sdxl = {"ss_base_model_version": "sdxl_base_v1-0"}

    silent = identify(safetensors(tmp_path / "a.safetensors", lora("sd15", "oft"), says_sdxl))
    shown = identify(safetensors(tmp_path / "b.safetensors", lora("sd15"), says_sdxl))

    assert (silent.base, silent.hinted) == (SDXL, True)
    assert (shown.base, shown.hinted) == (SD15, False)


def test_a_trainer_tells_what_is_predicted(tmp_path: Path) -> None:
    said = {"modelspec.prediction_type": "v"}

    assert identify(safetensors(tmp_path / "a.safetensors", checkpoint("sd15"), said)).prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("name", "base", "family"),
    [
        ("ponyDiffusionV6XL", SDXL, "pony"),
        ("illustriousXL_v01", SDXL, "illustrious"),
        ("noobaiXLNAIXL_vPred10", SDXL, "noobai"),
        ("dreamshaperXL_v21TurboDPMSDE", SDXL, "turbo"),
        ("juggernautXL_v9Rdphoto2Lightning", SDXL, "lightning"),
        ("lcm-dreamshaper", SD15, "lcm"),
        ("ponytail_style", SD15, ""),
        ("turbulence", SD15, ""),
        ("dreamshaper_8", SD15, ""),
    ],
)
def test_a_file_name_hints_at_the_family(tmp_path: Path, name: str, base: Base, family: str) -> None:
    seen = identify(safetensors(tmp_path / f"{name}.safetensors", checkpoint(base)))

    assert (seen.base, seen.family) == (base, family)


@pytest.mark.parametrize(
    ("words", "base"),
    [
        ("SDXL 1.0", SDXL),
        ("SDXL Lightning", SDXL),
        ("Pony", SDXL),
        ("Illustrious", SDXL),
        ("NoobAI", SDXL),
        ("sdxl_base_v1-0", SDXL),
        ("stable-diffusion-xl-v1-base/lora", SDXL),
        ("SD 2.1 768", SD2),
        ("sd_v2_768_v", SD2),
        ("stable-diffusion-v2-768-v", SD2),
        ("v2-1_768-ema-pruned", SD2),
        ("SD 1.5", SD15),
        ("SD 1.5 LCM", SD15),
        ("sd_v1", SD15),
        ("SD1", SD15),
        ("vae-ft-mse-840000-ema-pruned", SD15),
        ("sdxl_vae", SDXL),
        ("SD 3.5", None),
        ("Flux.1 D", None),
        ("my-style-v2.1", None),
        ("Other", None),
    ],
)
def test_the_words_of_sites_and_trainers_name_a_base(words: str, base: Base | None) -> None:
    assert base_of(words) is base


def test_families_of_sdxl_are_not_seen_elsewhere() -> None:
    assert family_of("pony", SD15) == ""
    assert family_of("pony") == "pony"


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "", "model_ema.diffusion_model"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("spread", "prediction"), [(0.2, "v_prediction"), (0.01, "epsilon")])
def test_sd2_shows_what_it_predicts_in_320_numbers(
    tmp_path: Path, spread: float, prediction: str, dtype: torch.dtype, prefix: str
) -> None:
    weights = {name: torch.zeros(shape, dtype=dtype) for name, shape in checkpoint("sd2").items()}
    weights[f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"][:] = torch.tensor([spread, -spread] * 4)
    told = {name.removeprefix(UNET): one for name, one in weights.items() if name.startswith(UNET)}
    others = {name: one for name, one in weights.items() if not name.startswith(UNET)}
    averaged = prefix.startswith("model_ema")
    renamed = {prefix + (name.replace(".", "") if averaged else name): one for name, one in told.items()}
    file = tmp_path / "x.safetensors"
    save_file(others | renamed, file)

    assert identify(file).prediction_type == prediction


# -- diffusers folders


def folder(path: Path, pipeline: str = "StableDiffusionPipeline", **unet: object) -> Path:
    parts = ["unet", "vae", "text_encoder"] + (["text_encoder_2"] if "XL" in pipeline else [])
    for part in parts:
        safetensors(path / part / "model.safetensors", {"x": (1,)})
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps({"prediction_type": "v_prediction"}))
    config = {"in_channels": 4, "cross_attention_dim": 768, "sample_size": 64, "use_linear_projection": False}
    (path / "unet" / "config.json").write_text(json.dumps(config | unet))
    (path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    return path


@pytest.mark.parametrize(
    ("pipeline", "unet", "base"),
    [
        ("StableDiffusionPipeline", {}, SD15),
        ("StableDiffusionInpaintPipeline", {"in_channels": 9}, SD15),
        ("StableDiffusionPipeline", {"use_linear_projection": True, "cross_attention_dim": 1024}, SD2),
        ("StableDiffusionXLPipeline", {"use_linear_projection": True, "cross_attention_dim": 2048}, SDXL),
    ],
)
def test_a_diffusers_folder_is_told_from_its_configs(
    tmp_path: Path, pipeline: str, unet: dict[str, object], base: Base
) -> None:
    seen = identify(folder(tmp_path / "x", pipeline, **unet))

    assert (seen.kind, seen.base, seen.problem) == (CHECKPOINT, base, "")
    assert (seen.prediction_type, seen.native_side) == ("v_prediction", 512)
    assert seen.in_channels == unet.get("in_channels", 4)


def test_the_demo_is_known() -> None:
    seen = identify(Path(__file__).parents[2] / "models" / "Stable-diffusion" / "easel-demo")

    assert (seen.kind, seen.base, seen.context_dim, seen.native_side) == (CHECKPOINT, SD15, 192, 128)
    assert (seen.prediction_type, seen.problem) == ("v_prediction", "")


def test_a_folder_for_another_pipeline_is_called_by_its_name(tmp_path: Path) -> None:
    assert "`FluxPipeline`" in identify(folder(tmp_path / "x", "FluxPipeline")).problem


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("unet/config.json", "unet/config.json is missing"),
        ("vae/model.safetensors", "no .safetensors file in vae/"),
        ("text_encoder/model.safetensors", "no .safetensors file in text_encoder/"),
        ("scheduler/scheduler_config.json", "is missing"),
    ],
)
def test_a_folder_that_lacks_something_says_what(tmp_path: Path, spoil: str, words: str) -> None:
    path = folder(tmp_path / "x")
    (path / spoil).unlink()

    assert words in identify(path).problem


def test_a_folder_still_being_copied_says_so(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    file = path / "unet" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])

    assert "unet/model.safetensors: " in identify(path).problem
    assert "still being copied" in identify(path).problem


@pytest.mark.parametrize(
    "content", ["[", "[]", "3", "[" * 100_000, " " * 2**21, '{"in_channels": 8}', '{"in_channels": "4"}']
)
def test_a_config_that_is_none_is_a_problem_not_an_error(tmp_path: Path, content: str) -> None:
    path = folder(tmp_path / "x")
    (path / "unet" / "config.json").write_text(content)

    assert identify(path).problem
