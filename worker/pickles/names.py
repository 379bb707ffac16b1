"""Which names in a pickle mean weights, which mean something harmless, and that all others are a reason to refuse it."""

import re
from collections.abc import Mapping
from typing import Any

from worker.pickles import stand_ins
from worker.pickles.stand_ins import Defaulting, Inert, Numbers, Ordered

_STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16",
    "Char": "I8", "Byte": "U8", "Bool": "BOOL",
}  # fmt: skip
_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8",
    "bool": "BOOL",
}  # fmt: skip

KNOWN: Mapping[tuple[str, str], Any] = {
    **{("torch", f"{name}Storage"): Numbers(dtype) for name, dtype in _STORAGES.items()},
    **{("torch", name): Numbers(dtype) for name, dtype in _DTYPES.items()},
    ("torch.storage", "UntypedStorage"): Numbers("U8"),
    ("torch._utils", "_rebuild_tensor"): stand_ins.tensor,
    ("torch._utils", "_rebuild_tensor_v2"): stand_ins.tensor,
    ("torch._utils", "_rebuild_tensor_v3"): stand_ins.typed_tensor,
    ("torch._utils", "_rebuild_parameter"): stand_ins.parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): stand_ins.parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): stand_ins.subclass,
    ("torch", "Size"): stand_ins.size,
    ("collections", "OrderedDict"): Ordered,
    ("collections", "defaultdict"): Defaulting,
}
"""What takes part in building weights; a tensor's numbers stay in the file."""

_MAKERS = {
    ("copyreg", "_reconstructor"),
    ("copy_reg", "_reconstructor"),
    ("_codecs", "encode"),
    ("collections", "deque"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}

_CLASSES = re.compile(
    r"""(?:pytorch_lightning|lightning|lightning_fabric|lightning_utilities|omegaconf|ldm|sgm)(?:\.\w+)*
    |torch\.(?:nn|optim)(?:\.\w+)* | diffusers(?:\.\w+)* | transformers(?:\.\w+)* | basicsr(?:\.\w+)*
    |argparse|collections|decimal|easydict|pathlib|typing|uuid""",
    re.VERBOSE,
)
"""Modules whose classes stand for settings, dates and the like beside the weights of real trainers."""
_CLASS = re.compile(r"_?[A-Z]\w*")

_PLAIN = re.compile(
    r"(?:set|frozenset|list|dict|tuple|int|long|float|complex|str|unicode|bytes|bytearray|bool|object|slice)"
)


def stand_in(module: str, name: str) -> tuple[Any, bool]:
    """Return what is used for a name, never the thing itself, and whether a model may have it."""
    known = KNOWN.get((module, name))
    if known is not None:
        return known, True
    if (module, name) in _MAKERS:
        return stand_ins.inert, True
    if module in {"builtins", "__builtin__"}:
        return Inert, _PLAIN.fullmatch(name) is not None
    return Inert, bool(_CLASSES.fullmatch(module) and _CLASS.fullmatch(name))
