"""What the names and shapes in a file say that it is: a table of rules, asked in order."""

from collections.abc import Callable

from easel.catalog import Base, ModelKind
from easel.identify.identified import Identified
from easel.identify.lora import lora
from easel.identify.weights import CONTEXTS, Weights

_OURS = "Easel paints with Stable Diffusion 1.5, 2.x and SDXL"

# Telling names, as ComfyUI's comfy/model_detection.py knows them; the more special ones come first.
# Plain pieces of them are looked for first, which is a hundred times as fast as a pattern.
_FOREIGN: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("double_stream_modulation",), r"double_stream_modulation", "Flux.2"),
    (("distilled_guidance_layer",), r"distilled_guidance_layer", "Chroma"),
    (("double_layers",), r"double_layers[._]\d+[._]attn", "AuraFlow"),
    (("individual_token_refiner",), r"individual_token_refiner", "Hunyuan Video"),
    (
        ("double_blocks", "single_transformer_blocks", "single_blocks"),
        r"double_blocks[._]\d+|single_transformer_blocks[._]\d+|single_blocks[._]\d+",
        "Flux",
    ),
    (
        ("joint_blocks", "add_k_proj"),
        r"joint_blocks[._]\d+|transformer_blocks[._]\d+[._]attn[._]add_k_proj",
        "Stable Diffusion 3",
    ),
    (("\nclf.1.", "channelwise"), r"^clf\.1\.weight|down_blocks\.\d+\.\d+\.channelwise", "Stable Cascade"),
    (("mlp_t5.",), r"mlp_t5\.0\.weight", "Hunyuan-DiT"),
    (("cap_embedder.", "context_refiner"), r"cap_embedder\.1\.weight|context_refiner[._]\d+", "Lumina or Z-Image"),
    (("img_m",), r"transformer_blocks[._]\d+[._]img_m", "Qwen-Image"),
    (("adaln_single",), r"adaln_single", "PixArt or LTX"),
    (("head.modulation", "cross_attn"), r"head\.modulation|blocks[._]\d+[._]cross_attn[._][qkvo]\b", "Wan"),
    ((".time_stack.",), r"\.time_stack\.", "Stable Video Diffusion"),
    (("motion_modules",), r"motion_modules", "AnimateDiff"),
    (("ip_adapter.", "to_k_ip"), r"ip_adapter\.|to_k_ip", "IP-Adapter"),
    (("lllite_",), r"lllite_", "ControlNet-LLLite"),
    (("\nadapter.", "\nbody."), r"^adapter\.|^body\.\d+\.resnets", "T2I-Adapter"),
    (("\nt5xxl\n",), r"^t5xxl$", "Stable Diffusion 3 or Flux"),
)

_CHANNELS = {8: "InstructPix2Pix", 5: "depth-guided", 7: "upscaling"}


def _foreign(weights: Weights) -> Identified | None:
    for pieces, pattern, name in _FOREIGN:
        if weights.holds(*pieces) and weights.first(pattern):
            return Identified(problem=f"This is made for {name}; {_OURS}.")
    return None


def _checkpoint(weights: Weights) -> Identified | None:
    """Tell an LDM-named checkpoint: https://github.com/CompVis/stable-diffusion, configs/stable-diffusion/v1-inference.yaml."""
    # Averaged (EMA) copies are written without the dots; some files hold nothing else.
    unet = r"^(?:model\.diffusion_model\.|model_ema\.diffusion_model)?"
    channels = weights.side(unet + r"input_blocks\.?0\.?0\.?weight$", 1)
    if not channels or weights.starts("control_model.", "input_hint_block.", "model.control_model."):
        return None
    # Linear projections came with SD 2, class labels with SDXL; sizes would not fit small models of the same make.
    linear = weights.rank(unet + r"(?:in|mid|out)put_blocks.*proj_in\.?weight$") == 2
    labelled = weights.first(unet + r"label_emb\.?0\.?0\.?weight$") is not None
    base = Base.SDXL if labelled else Base.SD2 if linear else Base.SD15
    context = weights.side(unet + r".*attn2\.?to_k\.?weight$", 1)
    v_prediction = weights.starts("v_pred\n")
    seen = Identified(
        kind=ModelKind.CHECKPOINT,
        base=base,
        context_dim=context,
        in_channels=9 if channels == 9 else 4,
        prediction_type="v_prediction" if v_prediction else "" if base is Base.SD2 else "epsilon",
        # An empty tensor of this name, beside `v_pred`, as NoobAI's and ComfyUI's files have it.
        zero_snr=weights.starts("ztsnr\n"),
    )
    # A file may lack its text encoder and VAE: another checkpoint of the same base lends the one, the other can be chosen.
    return seen.changed(problem=_variant(weights, channels, context, labelled=labelled))


def _variant(weights: Weights, channels: int, context: int, *, labelled: bool) -> str:
    """Return why a checkpoint of the right make is still not one that Easel paints with, "" if it is."""
    if channels not in {4, 9}:
        return f"This is a {_CHANNELS.get(channels, 'strange')} checkpoint ({channels} channels); {_OURS}."
    if labelled and context == 1280:
        return f"This is the SDXL refiner; {_OURS} base checkpoints."
    if labelled and context == 1024:
        return f"This is an unCLIP checkpoint, which wants a picture instead of words; {_OURS}."
    full_size = weights.side(r"input_blocks\.0\.0\.weight$", 0) == 320
    if labelled and full_size and not weights.holds("middle_block.1.transformer_blocks.9.", "middle_block.1.proj_in\n"):
        return f"This is a cut-down SDXL such as SSD-1B or Vega; {_OURS}."
    return ""


def _controlnet(weights: Weights) -> Identified | None:
    if not weights.starts("control_model.", "controlnet_cond_embedding.", "input_hint_block.", "model.control_model."):
        return None
    context = weights.side(r"attn2\.to_k\.weight$", 1)
    return Identified(kind=ModelKind.CONTROLNET, base=CONTEXTS.get(context), context_dim=context)


def _hypernetwork(weights: Weights) -> Identified | None:
    """Tell a hypernetwork that was turned from A1111's `{width: (key, value)}` into names such as `768.0.linear.0.weight`."""
    if not weights.first(r"^\d+\.[01]\.linear(?:1|\.\d+)\.weight$"):
        return None
    # 320, 640 and 1280 are widths of the UNet itself, which SD 1.5 and SD 2 share.
    context = next((dim for dim in CONTEXTS if weights.starts(f"{dim}.0.")), 0)
    return Identified(kind=ModelKind.HYPERNETWORK, base=CONTEXTS.get(context), context_dim=context)


def _embedding(weights: Weights) -> Identified | None:
    names = set(weights.header.tensors)
    if names == {"clip_l", "clip_g"}:
        return Identified(
            kind=ModelKind.EMBEDDING, base=Base.SDXL, context_dim=2048, vectors=_vectors(weights, r"^clip_g$")
        )
    vectors = weights.header.tensors.get("emb_params") or weights.only
    if vectors is None or not 1 <= len(vectors.shape) <= 2 or not 32 <= vectors.shape[-1] <= 1280:
        return None
    count = vectors.shape[0] if len(vectors.shape) == 2 else 1
    if not 1 <= count <= 128:
        return None
    # 1280 is the larger half of an SDXL embedding whose other half is missing: usable, and for nothing else.
    base = Base.SDXL if vectors.shape[-1] == 1280 else CONTEXTS.get(vectors.shape[-1])
    context = 2048 if base is Base.SDXL else vectors.shape[-1]
    return Identified(kind=ModelKind.EMBEDDING, base=base, context_dim=context, vectors=count)


def _vectors(weights: Weights, pattern: str) -> int:
    return weights.side(pattern, 0) if weights.rank(pattern) == 2 else 1


def _vae(weights: Weights) -> Identified | None:
    latent = weights.side(r"^(?:first_stage_model\.|vae\.)?decoder\.conv_in\.weight$", 1)
    if not latent:
        return None
    problem = "" if latent == 4 else f"This VAE has {latent} latent channels, as Stable Diffusion 3 and Flux; {_OURS}."
    return Identified(kind=ModelKind.VAE, problem=problem)


def _upscaler(weights: Weights) -> Identified | None:
    """Tell an enlarger by the layers that spandrel's architectures begin with."""
    known = weights.first(
        r"^conv_first\.weight$|^model\.1\.sub\.0\.|^(?:params(?:_ema)?\.)?(?:body\.0|RRDB_trunk\.0)\."
    )
    return Identified(kind=ModelKind.UPSCALER) if known else None


def _part(weights: Weights) -> Identified | None:
    parts = {
        "a UNet": weights.starts("down_blocks.0.resnets.0.", "conv_in.weight"),
        "a text encoder": weights.starts("text_model.encoder.", "transformer.text_model.", "encoder.layers.0."),
    }
    part = next((name for name, there in parts.items() if there), "")
    return Identified(problem=f"This is only {part}; a checkpoint needs all its parts.") if part else None


RULES: tuple[Callable[[Weights], Identified | None], ...] = (
    _foreign,
    lora,
    _checkpoint,
    _controlnet,
    _hypernetwork,
    _embedding,
    _vae,
    _upscaler,
    _part,
)


def told_by_names(weights: Weights) -> Identified:
    for rule in RULES:
        if identified := rule(weights):
            return identified
    return Identified(problem="Nothing in it looks like a model that Easel knows.")
