"""Names of trainers, and the modules that they mean."""

import pytest

from easel.catalog import Base
from tests.fakes.engine_jobs import tiny
from tests.fakes.trained_loras import flat_name, original_name, unet_layers
from worker.networks.keys import Place, modules_by_place, place, split

BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"


@pytest.mark.parametrize(
    ("key", "module", "piece"),
    [
        ("lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight", "down_blocks.1.attentions.0.proj_in", "down"),
        ("lora_unet_input_blocks_4_1_proj_in.alpha", "down_blocks.1.attentions.0.proj_in", "alpha"),
        ("lycoris_down_blocks_1_attentions_0_proj_in.hada_w1_a", "down_blocks.1.attentions.0.proj_in", "hada_w1_a"),
        (f"unet.{BLOCK}.to_q.lora_A.weight", f"{BLOCK}.to_q", "down"),
        (f"unet.{BLOCK}.to_q.lora_A.default.weight", f"{BLOCK}.to_q", "down"),
        (f"unet.{BLOCK}.to_q.lora.up.weight", f"{BLOCK}.to_q", "up"),
        (f"unet.{BLOCK}.processor.to_q_lora.up.weight", f"{BLOCK}.to_q", "up"),
        (f"unet.{BLOCK}.processor.to_out_lora.down.weight", f"{BLOCK}.to_out.0", "down"),
        (f"{BLOCK}.processor.to_out_lora.down.weight", f"{BLOCK}.to_out.0", "down"),
        (f"base_model.model.{BLOCK}.to_q.lora_magnitude_vector", f"{BLOCK}.to_q", "lengths"),
        ("diffusion_model.middle_block.1.proj_in.lora_up.weight", "mid_block.attentions.0.proj_in", "up"),
        ("lora_unet_time_embed_0.diff_b", "time_embedding.linear_1", "diff_b"),
        ("lora_unet_out_2.lokr_w2", "conv_out", "lokr_w2"),
        ("lora_unet_input_blocks_3_0_op.lora_mid.weight", "down_blocks.0.downsamplers.0.conv", "core"),
        ("lora_unet_output_blocks_5_2_conv.diff", "up_blocks.1.upsamplers.0.conv", "diff"),
        ("lora_unet_output_blocks_0_0_in_layers_2.a1.weight", "up_blocks.0.resnets.0.conv1", "a1.weight"),
    ],
)
def test_every_spelling_finds_its_module(key: str, module: str, piece: str) -> None:
    unet = tiny(Base.SD15).modules[0]
    found = split(key)

    assert found is not None
    assert found[1] == piece
    assert modules_by_place(unet, [])[place(found[0])] is unet.get_submodule(module)


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("lora_te_text_model_encoder_layers_2_mlp_fc1.alpha", "text"),
        ("lora_te1_text_model_encoder_layers_2_mlp_fc1.alpha", "text"),
        ("lora_te2_text_model_encoder_layers_2_mlp_fc1.alpha", "text_2"),
        ("text_encoder.text_model.encoder.layers.2.mlp.fc1.lora_linear_layer.up.weight", "text"),
        ("text_encoder_2.text_model.encoder.layers.2.mlp.fc1.lora_A.weight", "text_2"),
        ("text_encoders.clip_g.transformer.text_model.encoder.layers.2.mlp.fc1.lora_A.weight", "text_2"),
    ],
)
def test_text_encoders_are_told_apart(key: str, part: str) -> None:
    checkpoint = tiny(Base.SDXL)
    found = split(key)
    assert found is not None

    meant = modules_by_place(checkpoint.unet, checkpoint.text_encoders)[place(found[0])]

    owner = checkpoint.text_encoders[{"text": 0, "text_2": 1}[part]]
    assert next(name for name, one in owner.named_modules() if one is meant).endswith("encoder.layers.2.mlp.fc1")


@pytest.mark.parametrize("base", list(Base))
def test_all_attention_is_found_under_both_names(base: Base) -> None:
    unet = tiny(base).unet
    places = modules_by_place(unet, [])
    layers = list(unet_layers(unet))

    assert len(layers) > 100
    for name, module in layers:
        assert places[Place("unet", flat_name(name))] is module
        if base is Base.SDXL:
            assert places[Place("unet", original_name(name))] is module


def test_what_is_no_piece_of_a_change_is_not_read() -> None:
    assert split("model.diffusion_model.input_blocks.0.0.bias") is None
    assert split("bundle_emb.name.string_to_param") is None
    assert place("anything at all") == Place("unet", "anything at all")
