"""Identifies one weights file or diffusers folder."""

import statistics
import struct
import zipfile
from pathlib import Path

from easel.catalog import Base, ModelKind
from easel.errors import ModelUnusable
from easel.identify.folder import INDEX, identify_folder
from easel.identify.header import Header, impostor, read_header
from easel.identify.identified import Identified, base_of, family_of
from easel.identify.kinds import told_by_names
from easel.identify.metadata import completed
from easel.identify.weights import Weights

PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin"})
"""Formats that run code when they are loaded the plain way."""

_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""Of a zip archive, as PyTorch writes them, and of the bare pickles it wrote before."""

_SD2_MARK = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
_SD2_MARKS = (
    f"model.diffusion_model.{_SD2_MARK}",
    _SD2_MARK,
    f"model_ema.diffusion_model{_SD2_MARK.replace('.', '')}",
)
_NUMBERS = {"F16": "e", "F32": "f", "BF16": "f"}


def is_pickle(path: Path) -> bool:
    """Tell whether a weights file is a pickle; some that are called so hold safetensors.

    Raises OSError where it can not be read.
    """
    if path.suffix.lower() not in PICKLES or path.is_dir():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] != b"{" or int.from_bytes(head[:8], "little") > path.stat().st_size - 8


def identify(path: Path, folder: ModelKind | None = None, *, name: str = "") -> Identified:
    """Tell what `path` is without loading it; `folder` is what its place says, used only where nothing else can tell.

    `name` is what people call it, where that is not the file's own name.
    Never raises for a bad file: what is wrong with it stands in `problem`.
    """
    if (path / INDEX).is_file():
        seen = identify_folder(path)
    elif path.suffix.lower() in PICKLES:
        seen = _so_called_pickle(path, folder)
    else:
        seen = _safetensors(path, folder)
    return _named(seen, name or (path.stem if path.is_file() else path.name))


def _safetensors(path: Path, folder: ModelKind | None) -> Identified:
    try:
        header = read_header(path)
        seen = told_by_names(Weights(header))
        if seen.kind is None and seen.problem and folder is ModelKind.UPSCALER and _enlarges(header):
            seen = Identified(kind=ModelKind.UPSCALER)
        seen = completed(seen, header.metadata)
        if seen.kind is ModelKind.CHECKPOINT and seen.base is Base.SD2 and not seen.prediction_type:
            seen = seen.changed(prediction_type=_sd2_prediction(path, header))
    except ModelUnusable as error:
        return Identified(kind=folder, problem=str(error))
    except OSError as error:
        return Identified(kind=folder, problem=f"It can not be read: {error.strerror}.")
    return seen


def _enlarges(header: Header) -> bool:
    """Tell whether anything takes the three colours of a picture, as every architecture of enlargers does."""
    return any(len(tensor.shape) == 4 and tensor.shape[1] == 3 for tensor in header.tensors.values())


def _sd2_prediction(path: Path, header: Header) -> str:
    """Tell 768-v from 512-base by the spread of 320 numbers, as ComfyUI does (comfy/model_detection.py, `SD20`)."""
    tensor = next((header.tensors[name] for name in _SD2_MARKS if name in header.tensors), None)
    if tensor is None or tensor.dtype not in _NUMBERS or tensor.end - tensor.start > 2**16:
        return ""
    with path.open("rb") as file:
        file.seek(tensor.start)
        raw = file.read(tensor.end - tensor.start)
    if tensor.dtype == "BF16":
        # The upper half of a float.
        raw = b"".join(b"\0\0" + raw[at : at + 2] for at in range(0, len(raw), 2))
    spread = statistics.pstdev(struct.unpack(f"<{tensor.shape[0]}{_NUMBERS[tensor.dtype]}", raw))
    return "v_prediction" if spread > 0.09 else "epsilon"


def _so_called_pickle(path: Path, folder: ModelKind | None) -> Identified:
    try:
        return _pickle(path, folder) if is_pickle(path) else _safetensors(path, folder)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return Identified(kind=folder, pickled=True, problem=f"It can not be read: {error}.")


def _pickle(path: Path, folder: ModelKind | None) -> Identified:
    seen = Identified(kind=folder, pickled=True)
    if folder is None:
        return seen.changed(problem="Only its folder could tell what a pickle is; convert it to .safetensors.")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if not head.startswith(_BEGINNINGS):
        return seen.changed(problem=impostor(head, size, "model"))
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        # torch stores without compression, so a larger sum is a bomb.
        if unpacked > size:
            return seen.changed(problem="It is compressed, as PyTorch never writes; it may be a bomb.")
    return seen


def _named(seen: Identified, name: str) -> Identified:
    """Add what the file's name hints at and nothing else tells."""
    if seen.kind is None:
        return seen
    base = seen.base
    if base is None and not seen.context_dim and seen.kind is not ModelKind.UPSCALER:
        base = base_of(name)
    hinted = seen.hinted or base is not seen.base
    return seen.changed(base=base, hinted=hinted, family=seen.family or family_of(name, base))
