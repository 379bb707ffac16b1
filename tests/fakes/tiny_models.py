"""Checkpoints with the real topology of SD 1.5, SD 2 and SDXL, random weights and a tiny width; built in a moment, float32, on the CPU."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from easel.catalog import Base
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.vocabulary import clip_tokenizer

BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
}


def tiny_checkpoint(base: Base, *, in_channels: int = 4, prediction: str = "epsilon", seed: int = 0) -> Checkpoint:
    """Build a checkpoint whose weights are a function of the arguments; 9 input channels make an inpainting one."""
    base = Base(base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = _text_encoders(base)
        unet = _unet(base, in_channels, encoders)
        vae = _vae(0.13025 if base is Base.SDXL else 0.18215)
    pads = {Base.SD15: ("<|endoftext|>",), Base.SD2: ("!",), Base.SDXL: ("<|endoftext|>", "!")}[base]
    return Checkpoint(
        name=f"tiny-{base.value}",
        base=base,
        unet=unet,
        vae=vae,
        text_encoders=encoders,
        tokenizers=tuple(clip_tokenizer(pad) for pad in pads),
        scheduler_config=_scheduler_config(base, prediction),
    )


def as_pipeline(checkpoint: Checkpoint) -> Any:
    """Return the diffusers pipeline of this base around the very same modules; inpainting where the UNet has 9 channels."""
    unet: Any = checkpoint.unet
    inpaints = unet.config.in_channels == 9
    pipeline: Any
    shared = {
        "unet": unet,
        "vae": checkpoint.vae,
        "text_encoder": checkpoint.text_encoders[0],
        "tokenizer": checkpoint.tokenizers[0],
    }
    if checkpoint.base is Base.SDXL:
        pipeline = (StableDiffusionXLInpaintPipeline if inpaints else StableDiffusionXLPipeline)(
            **shared,
            text_encoder_2=checkpoint.text_encoders[1],
            tokenizer_2=checkpoint.tokenizers[1],
            scheduler=EulerDiscreteScheduler.from_config(checkpoint.scheduler_config),
            add_watermarker=False,
        )
    else:
        pipeline = (StableDiffusionInpaintPipeline if inpaints else StableDiffusionPipeline)(
            **shared,
            scheduler=PNDMScheduler.from_config(checkpoint.scheduler_config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_folder(checkpoint: Checkpoint, path: Path) -> Path:
    """Write the checkpoint as a diffusers folder with safetensors weights, as they are published; return the folder."""
    as_pipeline(checkpoint).save_pretrained(path, safe_serialization=True)
    for tokenizer in path.glob("tokenizer*"):
        # Published folders hold these two files; what transformers 5 writes instead is read six times slower.
        checkpoint.tokenizers[0].backend_tokenizer.model.save(str(tokenizer))
        (tokenizer / "tokenizer.json").unlink()
    return path


def _text_encoders(base: Base) -> tuple[CLIPTextModel | CLIPTextModelWithProjection, ...]:
    if base is Base.SD15:
        return (CLIPTextModel(_text_config(32, "quick_gelu")).eval(),)
    if base is Base.SD2:
        return (CLIPTextModel(_text_config(64, "gelu")).eval(),)
    return (
        CLIPTextModel(_text_config(32, "quick_gelu")).eval(),
        CLIPTextModelWithProjection(_text_config(64, "gelu")).eval(),
    )


def _text_config(width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=width * 2,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=width,
        hidden_act=activation,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=1,
    )


def _unet(base: Base, in_channels: int, encoders: tuple[Any, ...]) -> Any:
    common: dict[str, Any] = {
        "in_channels": in_channels,
        "out_channels": 4,
        "sample_size": 8,
        "layers_per_block": 2,
        "norm_num_groups": 8,
        "cross_attention_dim": sum(encoder.config.hidden_size for encoder in encoders),
    }
    if base is Base.SDXL:
        xl: Any = UNet2DConditionModel(
            block_out_channels=(16, 24, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            # The published model has 1, 2 and 10; three of the ten are enough to exercise every kind of key.
            transformer_layers_per_block=(1, 2, 3),
            attention_head_dim=(2, 4, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=encoders[1].config.projection_dim + 6 * 8,
            **common,
        )
        return xl.eval()
    unet: Any = UNet2DConditionModel(
        block_out_channels=(16, 24, 32, 32),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=4 if base is Base.SD15 else (2, 4, 4, 4),
        use_linear_projection=base is Base.SD2,
        **common,
    )
    return unet.eval()


def _vae(scaling_factor: float) -> Any:
    vae: Any = AutoencoderKL(
        latent_channels=4,
        sample_size=64,
        scaling_factor=scaling_factor,
        norm_num_groups=4,
        block_out_channels=(8, 12, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )
    return vae.eval()


def _scheduler_config(base: Base, prediction: str) -> dict[str, Any]:
    own: dict[str, Any]
    if base is Base.SDXL:
        own = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", "interpolation_type": "linear"}
    else:
        own = {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False}
    return {**own, **BETAS, "prediction_type": prediction}
