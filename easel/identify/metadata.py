"""What a trainer wrote beside the weights: title, trigger words, base, prediction type.

Formats: `modelspec.*` is https://github.com/Stability-AI/ModelSpec, `ss_*` is kohya's sd-scripts.
"""

import json
from collections import Counter
from collections.abc import Mapping

from easel.catalog import ModelKind
from easel.identify.identified import Identified, Prediction, base_of, family_of

_MAX_TAGS = 2 * 2**20
"""Characters of JSON; what is longer is not worth the time."""


def completed(seen: Identified, metadata: Mapping[str, str]) -> Identified:
    """Add what the metadata tells where the weights themselves do not."""
    made_for = metadata.get("modelspec.architecture", "") or metadata.get("ss_base_model_version", "")
    base = seen.base
    if base is None and seen.context_dim == 0 and seen.kind in {ModelKind.LORA, ModelKind.VAE, ModelKind.CONTROLNET}:
        base = base_of(made_for)
    words = f"{metadata.get('ss_sd_model_name', '')} {metadata.get('modelspec.title', '')}"
    return seen.changed(
        base=base,
        hinted=base is not seen.base,
        prediction_type=_prediction(metadata) or seen.prediction_type,
        zero_snr=seen.zero_snr or metadata.get("ss_zero_terminal_snr") == "True",
        family=seen.family or (family_of(words, base) if seen.kind else ""),
        title=metadata.get("modelspec.title", "").strip()[:300],
        trigger_words=_trigger_words(metadata) if seen.kind is ModelKind.LORA else (),
    )


def _prediction(metadata: Mapping[str, str]) -> Prediction:
    said = metadata.get("modelspec.prediction_type", "").lower()
    if said.startswith("v") or metadata.get("ss_v_parameterization") == "True":
        return "v_prediction"
    return "epsilon" if said.startswith("eps") else ""


def _trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    phrase = metadata.get("modelspec.trigger_phrase", "").strip()
    if phrase:
        return (phrase[:300],)
    text = metadata.get("ss_tag_frequency", "")
    if not text or len(text) > _MAX_TAGS:
        return ()
    try:
        folders = json.loads(text)
        tags: Counter[str] = Counter()
        for counts in folders.values():
            tags.update({tag.strip(): int(count) for tag, count in counts.items()})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return ()
    # A trigger stands under nearly every picture; what stands under fewer only describes them.
    most = max(tags.values(), default=0)
    return tuple(tag[:300] for tag, count in tags.most_common(5) if tag and count > 0.9 * most)
