"""Old pickles as trainers wrote them, and pickles that were written to run code."""

import builtins
import io
import os
import pathlib
import pickle
import pydoc
import runpy
import sys
import timeit
import types
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


class Calls:
    """Calls a function with arguments when it is unpickled the plain way."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def payloads(mark: Path) -> dict[str, bytes]:
    """Return files that leave `mark` behind where they are unpickled the plain way, by what they do it with."""
    code = f"open({str(mark)!r}, 'w').close()"
    script = mark.with_name("script.py")
    script.write_text(code)
    calls = {
        "os.system": Calls(os.system, f"touch {mark}"),
        "eval": Calls(eval, code),
        "pathlib": Calls(pathlib.Path.touch, pathlib.Path(mark)),
        "runpy": Calls(runpy.run_path, str(script)),
        "pydoc": Calls(pydoc.pipepager, "", f"touch {mark}"),
        "timeit": Calls(timeit.timeit, code, "pass", timeit.default_timer, 1),
        "getattr": Calls(getattr, Calls(builtins.__import__, "os"), "system"),
    }
    weights = {"state_dict": {"conv_first.weight": torch.ones(8, 3, 3, 3)}}
    files = {name: saved(weights | {"more": call}) for name, call in calls.items()}
    files["older format"] = saved(weights | {"more": calls["os.system"]}, _use_new_zipfile_serialization=False)
    files["broken zip"] = broken(files["os.system"])
    files["bare pickle"] = pickle.dumps(calls["os.system"], protocol=2)
    return files


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def broken(file: bytes) -> bytes:
    """Return the archive with a whole program in it, but without the weights."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as whole, zipfile.ZipFile(out, "w") as part:
        for name in whole.namelist():
            if "/data/" not in name:
                part.writestr(name, whole.read(name))
    return out.getvalue()


@contextmanager
def lightning() -> Iterator[Any]:
    """Yield a class that is called as one of pytorch_lightning's; afterwards nobody has it."""
    names = ["pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint"]
    modules = {name: types.ModuleType(name) for name in names}
    kind = type("ModelCheckpoint", (), {"__module__": names[-1]})
    modules[names[-1]].ModelCheckpoint = kind  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        yield kind
    finally:
        for name in names:
            del sys.modules[name]
