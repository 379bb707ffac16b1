"""Diffusers folders from the disk: read offline, from safetensors only, and checked before they are used."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from easel.catalog import Base
from easel.errors import ModelUnusable, OutOfMemory
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.vocabulary import END, clip_tokenizer, folder_tokenizer

BETAS: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
"""What Stable Diffusion was trained with; used where a folder has no scheduler of its own."""

TEXT_PARTS: Mapping[Base, tuple[tuple[str, Any, str, str], ...]] = {
    Base.SD15: (("text_encoder", CLIPTextModel, "tokenizer", END),),
    Base.SD2: (("text_encoder", CLIPTextModel, "tokenizer", "!"),),
    Base.SDXL: (
        ("text_encoder", CLIPTextModel, "tokenizer", END),
        ("text_encoder_2", CLIPTextModelWithProjection, "tokenizer_2", "!"),
    ),
}
"""Per base: folder and class of each text encoder, folder and padding word of its tokenizer."""


def preferred_dtype(device: torch.device) -> torch.dtype:
    """Return the precision checkpoints are held in on this device."""
    # The GTX 16 cards answer half precision with not-a-number.
    if device.type == "cuda" and "GTX 16" in torch.cuda.get_device_name(device):
        return torch.float32
    return {"cuda": torch.float16, "mps": torch.float16, "xpu": torch.bfloat16}.get(device.type, torch.float32)


def load_folder(path: Path, *, name: str, base: Base, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Load a diffusers folder without the hub; raises ModelUnusable with what is wrong, OutOfMemory where it is too big."""
    _quiet()
    folder = _Folder(path.resolve(), name)
    unet = folder.module("unet", UNet2DConditionModel, torch_dtype=dtype)
    vae = folder.module("vae", AutoencoderKL, torch_dtype=dtype)
    texts = TEXT_PARTS[base]
    encoders = tuple(folder.module(part, kind, dtype=dtype) for part, kind, _, _ in texts)
    tokenizers = tuple(folder.tokenizer(part, pad) for _, _, part, pad in texts)
    _check_fit(name, unet, encoders, tokenizers)
    for encoder, tokenizer in zip(encoders, tokenizers, strict=True):
        _end_at_the_first_end(encoder, tokenizer)
    vae_dtype = _vae_dtype(vae, base, device, dtype)
    with _reading(name, "weights"):
        # On a GPU the convolutions run on this layout without a copy.
        layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        unet.to(device=device, memory_format=layout)
        vae.to(device=device, dtype=vae_dtype, memory_format=layout)
        for encoder in encoders:
            encoder.to(device)
    for part, module in (("unet", unet), ("vae", vae), *zip((row[0] for row in texts), encoders, strict=True)):
        _check_finite(name, part, module)
    return Checkpoint(name, base, unet, vae, encoders, tokenizers, folder.scheduler_config())


def folder_base(path: Path) -> Base:
    """Tell the base of a diffusers folder from its structure; what is neither SDXL nor SD 2 counts as SD 1.5."""
    if (path / "text_encoder_2").is_dir():
        return Base.SDXL
    return Base.SD2 if _json(path / "unet" / "config.json").get("use_linear_projection") else Base.SD15


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    name: str

    def module(self, part: str, kind: Any, **options: Any) -> Any:
        variant = self._variant(part)
        with _reading(self.name, part):
            module, info = kind.from_pretrained(
                str(self.path / part),
                local_files_only=True,
                use_safetensors=True,
                variant=variant,
                output_loading_info=True,
                **options,
            )
        # Both libraries fill what is missing with random numbers and go on.
        if missing := sorted(info["missing_keys"]):
            raise ModelUnusable(
                f"The checkpoint `{self.name}` is incomplete: {len(missing)} weights of its {part} are missing, "
                f"`{missing[0]}` among them. Please install it again."
            )
        return module.eval().requires_grad_(False)

    def tokenizer(self, part: str, pad: str) -> CLIPTokenizer:
        """Return the folder's own, or CLIP's where it has none."""
        if not (self.path / part).is_dir():
            return clip_tokenizer(pad)
        with _reading(self.name, part):
            return folder_tokenizer(self.path / part, pad)

    def scheduler_config(self) -> Mapping[str, Any]:
        with _reading(self.name, "scheduler"):
            return _json(self.path / "scheduler" / "scheduler_config.json") or dict(BETAS)

    def _variant(self, part: str) -> str | None:
        """Return which spelling of the weights there is, such as `fp16`; None is the plain one."""
        weights = sorted(file.name for file in (self.path / part).glob("*.safetensors*"))
        if not weights:
            pickled = any((self.path / part).glob("*.bin"))
            raise ModelUnusable(
                f"The checkpoint `{self.name}` has its {part} as `.bin` only, a format that can run code. "
                "Please install a version with safetensors."
                if pickled
                else f"The checkpoint `{self.name}` has no weights for its {part}. Please install it again."
            )
        # diffusion_pytorch_model.fp16.safetensors, against diffusion_pytorch_model[-00001-of-00002].safetensors
        middles = {file.split(".")[1] for file in weights}
        if "safetensors" in middles:
            return None
        return "fp16" if "fp16" in middles else min(middles)


@contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"The checkpoint `{name}` does not fit into the memory of this worker.") from error
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        if "can't allocate memory" in str(error):
            raise OutOfMemory(f"The checkpoint `{name}` does not fit into the memory of this worker.") from error
        raise ModelUnusable(
            f"The checkpoint `{name}` can not be loaded: its {part} is damaged or of another kind. "
            "Please install it again."
        ) from error


def _check_fit(name: str, unet: Any, encoders: tuple[Any, ...], tokenizers: tuple[CLIPTokenizer, ...]) -> None:
    if unet.config.in_channels not in {4, 9}:
        raise ModelUnusable(
            f"The checkpoint `{name}` is of a special kind: its unet takes {unet.config.in_channels} channels, "
            "and only 4, or 9 for inpainting, can be used."
        )
    if unet.config.cross_attention_dim != sum(encoder.config.hidden_size for encoder in encoders):
        raise ModelUnusable(f"The checkpoint `{name}` is mixed up: its unet was not made for its text encoders.")
    for encoder, tokenizer in zip(encoders, tokenizers, strict=True):
        # An id beyond the table would end a CUDA process, not only the job.
        if len(tokenizer) > encoder.get_input_embeddings().num_embeddings:
            raise ModelUnusable(
                f"The checkpoint `{name}` is mixed up: its tokenizer knows more words than its encoder."
            )


def _end_at_the_first_end(encoder: nn.Module, tokenizer: CLIPTokenizer) -> None:
    """Make the pooled vector come from the first end word.

    The published configs say `eos_token_id: 2`, by which transformers takes the highest id; that is another word where
    the vocabulary is not CLIP's.
    """
    core: Any = getattr(encoder, "text_model", encoder)
    core.eos_token_id = tokenizer.eos_token_id


def _vae_dtype(vae: Any, base: Base, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    # SDXL's VAE says by force_upcast that it overflows in half precision; bfloat16 has the range of float32.
    overflows = base is Base.SDXL and dtype is torch.float16 and bool(vae.config.force_upcast)
    if overflows and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return dtype


def _check_finite(name: str, part: str, module: nn.Module) -> None:
    # One answer for all, as asking a GPU after every tensor would stall it hundreds of times.
    if not torch.stack([torch.isfinite(weight).all() for weight in module.parameters()]).all():
        raise ModelUnusable(
            f"The checkpoint `{name}` can not be used: its {part} holds values that are not numbers. "
            "Please install another version."
        )


def _json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty where there is no such file."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"{path.name} holds no object")
    return content


@cache
def _quiet() -> None:
    """Keep both libraries from drawing progress bars and from warning of what is checked here."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
