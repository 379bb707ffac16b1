"""Which LoRA-like network a file holds, and for which base."""

from easel.catalog import Base, ModelKind
from easel.identify.identified import Algorithm, Identified
from easel.identify.weights import CONTEXTS, Weights

_MARKS = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "lycoris_", "unet.", "text_encoder.")
_PIECES = (".lora_", "_lora.", "_lora_", ".lora.", "lora_linear_layer", ".hada_w", ".lokr_w", ".oft_", ".dora_scale")

# Which tensors only one algorithm has; names as LyCORIS writes them (docs/Algo-Details.md there).
_ALGORITHMS: tuple[tuple[Algorithm, tuple[str, ...]], ...] = (
    ("dora", (".dora_scale", "lora_magnitude_vector")),
    ("loha", (".hada_w",)),
    ("lokr", (".lokr_w",)),
    ("oft", (".oft_blocks", ".oft_diag")),
    ("ia3", (".on_input",)),
    ("glora", (".a1.weight",)),
)

_DOWN = r"(?:lora_down|lora_A|lora\.down|_lora\.down|lora_A\.default)\.weight$"

# Only SDXL's UNet has a second transformer in one place, or a second text encoder beside it.
_SDXL_MARKS = ("lora_te2_", "text_encoder_2.", "transformer_blocks_1_", "transformer_blocks.1.")


def lora(weights: Weights) -> Identified | None:
    # Merging leaves keys of LoRAs behind in checkpoints.
    if weights.holds("\nmodel.diffusion_model.input_blocks.0.0.weight\n"):
        return None
    if not (
        weights.holds(*_PIECES) or (weights.starts(*_MARKS) and weights.holds(".diff", ".on_input\n", ".a1.weight"))
    ):
        return None
    context = _context(weights)
    base = Base.SDXL if weights.holds(*_SDXL_MARKS) else CONTEXTS.get(context)
    # The width of the text encoder is that of the prompt vectors, but on SDXL, which joins two.
    if base is None and not context:
        context = weights.side(rf"(?:lora_te_|text_encoder\.).*q_proj.*{_DOWN}", 1)
        base = CONTEXTS.get(context)
    if base is None and context not in CONTEXTS:
        base = {4: Base.SD15, 2: Base.SD2}.get(weights.rank(rf"proj_in\b.*{_DOWN}"))
    return Identified(kind=ModelKind.LORA, base=base, context_dim=context, algorithm=_algorithm(weights))


def _context(weights: Weights) -> int:
    """Return the width of the prompt vectors, read off what changes the cross attention; 0 where nothing does."""
    place = r"attn2[._]to_[kv].*"
    for pattern in (_DOWN, r"\.hada_w1_b$", r"\.diff$"):
        if side := weights.side(place + pattern, 1):
            return side
    # LoKr is a Kronecker product: widths multiply, and either factor may be split in two.
    first = weights.side(place + r"\.lokr_w1$", 1) or weights.side(place + r"\.lokr_w1_b$", 1)
    second = weights.side(place + r"\.lokr_w2$", 1) or weights.side(place + r"\.lokr_w2_b$", 1)
    return first * second


def _algorithm(weights: Weights) -> Algorithm:
    for algorithm, pieces in _ALGORITHMS:
        if weights.holds(*pieces):
            return algorithm
    if not weights.first(_DOWN):
        return "full"
    # A kernel of 3 x 3 is a convolution proper; SD 1.5 writes plain projections as kernels of 1 x 1.
    kernels = {tensor.shape[2] for tensor in weights.header.tensors.values() if len(tensor.shape) == 4}
    return "locon" if kernels - {1} else "lora"
