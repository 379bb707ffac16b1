"""A checkpoint that is a diffusers folder: told from its JSON files."""

import json
from pathlib import Path
from typing import Any

from easel.catalog import Base, ModelKind
from easel.errors import ModelUnusable
from easel.identify.header import read_header
from easel.identify.identified import Identified, Prediction

INDEX = "model_index.json"

_MAX_JSON = 2**20
_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionImg2ImgPipeline")
_XL_PIPELINES = tuple(name.replace("Diffusion", "DiffusionXL") for name in _PIPELINES)
_PREDICTIONS: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v_prediction"}


def identify_folder(path: Path) -> Identified:
    """Tell what a diffusers folder holds; what is wrong with it stands in `problem`."""
    try:
        return _told(path)
    except ModelUnusable as error:
        return Identified(kind=ModelKind.CHECKPOINT, problem=str(error))


def _told(path: Path) -> Identified:
    index = _json(path / INDEX)
    pipeline = str(index.get("_class_name", ""))
    if pipeline not in (*_PIPELINES, *_XL_PIPELINES):
        raise ModelUnusable(
            f"This is a folder for `{pipeline[:60]}`; Easel paints with Stable Diffusion 1.5, 2.x and SDXL."
        )
    unet = _json(path / "unet" / "config.json")
    scheduler = _json(path / "scheduler" / "scheduler_config.json")
    channels = unet.get("in_channels")
    if channels not in {4, 9}:
        raise ModelUnusable(f"Its UNet takes {channels} channels; Easel paints with those of 4, or 9 for inpainting.")
    xl = pipeline in _XL_PIPELINES
    text_encoders = ("text_encoder", "text_encoder_2") if xl else ("text_encoder",)
    for part in ("unet", "vae", *text_encoders):
        _check_part(path / part)
    context = unet.get("cross_attention_dim")
    return Identified(
        kind=ModelKind.CHECKPOINT,
        base=Base.SDXL if xl else Base.SD2 if unet.get("use_linear_projection") is True else Base.SD15,
        context_dim=context if isinstance(context, int) and context > 0 else 0,
        native_side=_native_side(unet.get("sample_size")),
        in_channels=9 if channels == 9 else 4,
        prediction_type=_PREDICTIONS.get(str(scheduler.get("prediction_type")), ""),
        zero_snr=scheduler.get("rescale_betas_zero_snr") is True,
    )


def _native_side(sample_size: object) -> int:
    """Return pixels: a VAE makes one latent of eight by eight."""
    side = sample_size * 8 if isinstance(sample_size, int) else 0
    return side if 64 <= side <= 2048 else 0


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ModelUnusable(f"{path.name} is too large to be a description.")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelUnusable(f"{path.parent.name}/{path.name} is missing; is the folder still being copied?") from error
    except (ValueError, RecursionError) as error:
        raise ModelUnusable(f"{path.parent.name}/{path.name} is not JSON.") from error
    if not isinstance(value, dict):
        raise ModelUnusable(f"{path.parent.name}/{path.name} is not a description of a model.")
    return value


def _check_part(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        raise ModelUnusable(
            f"There is no .safetensors file in {folder.name}/; pickles (.bin) are not loaded from folders."
        )
    for file in files:
        try:
            read_header(file)
        except ModelUnusable as error:
            raise ModelUnusable(f"{folder.name}/{file.name}: {error}") from error
        except OSError as error:
            raise ModelUnusable(f"{folder.name}/{file.name} can not be read: {error.strerror}.") from error
