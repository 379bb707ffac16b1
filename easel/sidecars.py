"""What other programs left beside a weights file: `.civitai.info`, `.json`, `.preview.png`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from easel.catalog import Base
from easel.identify.identified import Family, base_of, family_of
from easel.jobs import Frozen

PREVIEWS = (".preview.png", ".preview.jpg", ".preview.webp", ".png", ".jpg", ".webp")
INFOS = (".civitai.info", ".json")

_MAX_BYTES = 2**20
_MAX_WORDS = 20


class Sidecar(Frozen):
    """Facts from beside the file; nothing of it is trusted further than its shape."""

    title: str = ""
    base: Base | None = None
    family: Family = ""
    trigger_words: tuple[str, ...] = ()
    nsfw: bool = False
    source: str = ""
    sha256: str = ""
    notes: str = ""


def read_sidecars(files: Iterable[Path], size: int) -> Sidecar:
    """Join what `files` say about a weights file of `size` bytes; the first that says something wins."""
    facts: dict[str, Any] = {}
    for file in files:
        said = _civitai(_read(file), size) if file.name.endswith(".civitai.info") else _webui(_read(file))
        facts |= {field: value for field, value in said.items() if value and field not in facts}
    return Sidecar.model_validate(facts)


def _read(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`, {} where there is no such thing."""
    try:
        if file.stat().st_size > _MAX_BYTES:
            return {}
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _civitai(said: dict[str, Any], size: int) -> dict[str, Any]:
    """Read a model version as Civitai's API gives it: https://developer.civitai.com, `/api/v1/model-versions`."""
    model = said.get("model")
    model = model if isinstance(model, dict) else {}
    base_model = _text(said.get("baseModel"), 60)
    title = f"{_text(model.get('name'), 140)} {_text(said.get('name'), 100)}".strip()
    number, version = said.get("modelId"), said.get("id")
    known = type(number) is int and type(version) is int
    return {
        "title": title,
        "base": base_of(base_model),
        "family": family_of(base_model),
        "trigger_words": _words(said.get("trainedWords")),
        "nsfw": model.get("nsfw") is True,
        "source": f"https://civitai.com/models/{number}?modelVersionId={version}" if known else "",
        "sha256": _sha256(said.get("files"), size),
    }


def _sha256(files: Any, size: int) -> str:
    """Return the hash of the listed file that has this very size, "" where none has."""
    for file in files if isinstance(files, list) else ():
        hashes = file.get("hashes") if isinstance(file, dict) else None
        kilobytes = file.get("sizeKB") if isinstance(file, dict) else None
        if isinstance(hashes, dict) and isinstance(kilobytes, int | float) and abs(kilobytes * 1024 - size) < 1024:
            text = str(hashes.get("SHA256", "")).lower()
            if len(text) == 64 and set(text) <= set("0123456789abcdef"):
                return text
    return ""


def _webui(said: dict[str, Any]) -> dict[str, Any]:
    """Read what A1111's card editor saves (extensions-builtin/Lora/ui_edit_user_metadata.py there)."""
    trigger = _text(said.get("activation text"), 300)
    return {
        "base": base_of(_text(said.get("sd version"), 60)),
        "trigger_words": (trigger,) if trigger else (),
        "notes": _text(said.get("notes"), 1000) or _text(said.get("description"), 1000),
    }


def _words(value: Any) -> tuple[str, ...]:
    words = (_text(word, 300) for word in value[:_MAX_WORDS]) if isinstance(value, list) else ()
    return tuple(word for word in words if word)


def _text(value: Any, longest: int) -> str:
    """Return a string's printable beginning; JSON may hold half a surrogate pair, which no file or chat can."""
    return "".join(sign for sign in value[:longest] if sign.isprintable()).strip() if isinstance(value, str) else ""
