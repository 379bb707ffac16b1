"""Makes a checkpoint of its parts on one device, or pours them into the modules of another one of the same shape."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import CLIPTokenizer

from easel.catalog import Base
from easel.errors import ModelUnusable, OutOfMemory
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.parts import Part, Parts
from worker.checkpoints.skeleton import Slots, empty_module, same_options, slots_of
from worker.engine.memory import ran_out

_BROKEN = (OSError, ValueError, RuntimeError, TypeError, KeyError, IndexError, AttributeError, SafetensorError)


def preferred_dtype(device: torch.device) -> torch.dtype:
    """Return the precision checkpoints are held in on this device."""
    # The GTX 16 cards answer half precision with not-a-number.
    if device.type == "cuda" and "GTX 16" in torch.cuda.get_device_name(device):
        return torch.float32
    return {"cuda": torch.float16, "mps": torch.float16, "xpu": torch.bfloat16}.get(device.type, torch.float32)


def build(parts: Parts, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Put the parts on a device, in memory of their own; raises ModelUnusable with what is wrong, OutOfMemory."""
    modules: dict[str, nn.Module] = {}
    for part, content in parts.modules:
        with reading(parts.name, part):
            modules[part] = empty_module(parts.base, part, content.config, device)
    _check_fit(parts, modules)
    _fill(parts, modules, device, dtype, keep=False)
    return _assembled(parts, modules)


def pourable(parts: Parts, checkpoint: Checkpoint) -> bool:
    """Tell whether the checkpoint's modules are built as the parts want theirs."""
    if parts.base is not checkpoint.base:
        return False
    there = bool(parts.vae.weights) is checkpoint.has_vae
    return there and all(
        same_options(part, content.config, module)
        for (part, content), module in zip(parts.modules, checkpoint.modules, strict=True)
    )


def pour(parts: Parts, checkpoint: Checkpoint) -> Checkpoint:
    """Give a checkpoint's modules the weights of these parts, and return a new checkpoint around them.

    The old one must not be used again, not even after an exception: ModelUnusable or OutOfMemory, ValueError where the
    parts are not `pourable` into it.
    """
    if not pourable(parts, checkpoint):
        raise ValueError("the parts are of another shape than the checkpoint")
    modules = dict(zip((part for part, _ in parts.modules), checkpoint.modules, strict=True))
    _fill(parts, modules, checkpoint.device, checkpoint.dtype, keep=True)
    return _assembled(parts, modules)


def load_vae_part(content: Part, base: Base, device: torch.device, dtype: torch.dtype, what: str) -> nn.Module:
    """Build a VAE alone, `what` naming it in a sentence; raises what the libraries raise, and ModelUnusable."""
    module = empty_module(base, "vae", content.config, device)
    places = _matched(what, "vae", content, slots_of(module))
    _fill_module(places, device, _vae_dtype(content.config, base, device, dtype), keep=False, own=False)
    _check_finite(what, "vae", module)
    return module


@contextmanager
def reading(name: str, part: str) -> Iterator[None]:
    """Tell in a sentence what the libraries raise while they read or build one part."""
    try:
        yield
    except MemoryError as error:
        raise _too_big(name) from error
    except _BROKEN as error:
        if ran_out(error):
            raise _too_big(name) from error
        raise ModelUnusable(
            f"The checkpoint `{name}` can not be loaded: its {part} is damaged or of another kind. "
            "Please install it again."
        ) from error


def _too_big(name: str) -> OutOfMemory:
    return OutOfMemory(f"The checkpoint `{name}` does not fit into the memory of this worker.")


Placing = list[tuple[nn.Module, str, Tensor]]
"""The module that holds a weight, its name there, and what it is to be."""


def _fill(
    parts: Parts, modules: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype, *, keep: bool
) -> None:
    """Give the modules their weights; `keep` writes into those that are there, as far as they are alike."""
    own = None
    if device.type == "cpu" and any(one.dtype is dtype for _, part in parts.modules for one in part.weights.values()):
        # They could stay where they are, were they not to be written to by LoRAs and by whoever pours next.
        own = parts.afresh()
    source = own or parts
    placing: dict[str, Placing] = {}
    for part, content in source.modules:
        if content.weights:
            with reading(parts.name, part):
                placing[part] = _matched(f"The checkpoint `{parts.name}`", part, content, slots_of(modules[part]))
    for part, places in placing.items():
        config = dict(source.modules)[part].config
        precision = _vae_dtype(config, parts.base, device, dtype) if part == "vae" else dtype
        with reading(parts.name, "weights"):
            _fill_module(places, device, precision, keep=keep, own=own is not None)
    if device.type == "cpu" and dtype in parts.checked:
        return
    for part in placing:
        _check_finite(f"The checkpoint `{parts.name}`", part, modules[part])
    parts.checked.add(dtype)


def _matched(what: str, part: str, content: Part, slots: Slots) -> Placing:
    """Find every weight of a module; raises ModelUnusable for missing ones, ValueError for those of another shape."""
    if missing := sorted(slots.keys() - content.weights.keys()):
        raise ModelUnusable(
            f"{what} is incomplete: {len(missing)} weights of its {part} are missing, "
            f"`{missing[0]}` among them. Please install it again."
        )
    places: Placing = []
    for key, (owner, attribute) in slots.items():
        wanted, weight = getattr(owner, attribute).shape, content.weights[key]
        # Kernels of 1 x 1 and plain projections are the same numbers.
        if [side for side in weight.shape if side > 1] != [side for side in wanted if side > 1]:
            raise ValueError(f"{key} is {tuple(weight.shape)} instead of {tuple(wanted)}")
        if not weight.is_floating_point():
            raise ValueError(f"{key} is {weight.dtype}")
        places.append((owner, attribute, weight.reshape(wanted)))
    return places


@torch.no_grad()
def _fill_module(places: Placing, device: torch.device, dtype: torch.dtype, *, keep: bool, own: bool) -> None:
    for owner, attribute, weight in places:
        there: Any = getattr(owner, attribute)
        stays = own and weight.dtype is dtype
        if keep and not stays and there.dtype is dtype and there.device == device:
            # Sent as it is: a GPU casts faster than the CPU, and half as much travels.
            there.copy_(weight.to(device))
        elif keep:
            there.data = _placed(weight, device, dtype, own=stays)
        else:
            fresh = nn.Parameter(_placed(weight, device, dtype, own=stays), requires_grad=False)
            owner.register_parameter(attribute, fresh)


def _placed(weight: Tensor, device: torch.device, dtype: torch.dtype, *, own: bool) -> Tensor:
    """Return the weight where and as it is wanted, `own` ones without a copy if they can do without."""
    moved = weight.to(device).to(dtype)
    if weight.ndim == 4 and device.type == "cuda":
        # On a GPU the convolutions run on this layout without a copy.
        return moved.contiguous(memory_format=torch.channels_last)
    moved = moved.contiguous()
    return moved.clone() if moved.data_ptr() == weight.data_ptr() and not own else moved


def _check_finite(what: str, part: str, module: nn.Module) -> None:
    """Raise ModelUnusable if a weight is not a number."""
    ends = [torch.stack(weight.aminmax()).float() for weight in module.parameters() if weight.numel()]
    # One answer for all, as asking a GPU after every tensor would stall it hundreds of times.
    if not torch.isfinite(torch.cat(ends)).all():
        raise ModelUnusable(
            f"{what} can not be used: its {part} holds values that are not numbers. Please install another version."
        )


def _vae_dtype(config: Mapping[str, Any], base: Base, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    # SDXL's VAE says by force_upcast that it overflows in half precision; bfloat16 has the range of float32.
    overflows = base is Base.SDXL and dtype is torch.float16 and bool(config.get("force_upcast", True))
    if overflows and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return dtype


def _check_fit(parts: Parts, modules: Mapping[str, Any]) -> None:
    name, unet = parts.name, modules["unet"]
    encoders = [modules[part] for part, _ in parts.modules[2:]]
    if unet.config.in_channels not in {4, 9}:
        raise ModelUnusable(
            f"The checkpoint `{name}` is of a special kind: its unet takes {unet.config.in_channels} channels, "
            "and only 4, or 9 for inpainting, can be used."
        )
    if unet.config.cross_attention_dim != sum(encoder.config.hidden_size for encoder in encoders):
        raise ModelUnusable(f"The checkpoint `{name}` is mixed up: its unet was not made for its text encoders.")
    for encoder, tokenizer in zip(encoders, parts.tokenizers, strict=True):
        # An id beyond the table would end a CUDA process, not only the job.
        if len(tokenizer) > encoder.get_input_embeddings().num_embeddings:
            raise ModelUnusable(
                f"The checkpoint `{name}` is mixed up: its tokenizer knows more words than its encoder."
            )


def _assembled(parts: Parts, modules: Mapping[str, Any]) -> Checkpoint:
    encoders = tuple(modules[part] for part, _ in parts.modules[2:])
    for encoder, tokenizer in zip(encoders, parts.tokenizers, strict=True):
        _end_at_the_first_end(encoder, tokenizer)
    return Checkpoint(
        name=parts.name,
        base=parts.base,
        unet=modules["unet"],
        vae=modules["vae"],
        text_encoders=encoders,
        tokenizers=parts.tokenizers,
        scheduler_config=parts.scheduler_config,
        file_hash=parts.file_hash,
        notes=parts.notes,
    )


def _end_at_the_first_end(encoder: nn.Module, tokenizer: CLIPTokenizer) -> None:
    """Make the pooled vector come from the first end word.

    The published configs say `eos_token_id: 2`, by which transformers takes the highest id; that is another word where
    the vocabulary is not CLIP's.
    """
    core: Any = getattr(encoder, "text_model", encoder)
    core.eos_token_id = tokenizer.eos_token_id
