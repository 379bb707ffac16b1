"""Limits that Discord documents and its machine-readable description leaves out or gets wrong."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tests.fakes.discord_components import walk
from tests.fakes.discord_files import Upload
from tests.fakes.discord_messages import COMPONENTS_V2, LOADING, MessageState
from tests.fakes.discord_values import Json, Refusal, bad_form

REQUEST_BYTES = 25 * 1024 * 1024
FILES = 10
_EMBED_LENGTHS = (
    (("title",), 256),
    (("description",), 4096),
    (("footer", "text"), 2048),
    (("author", "name"), 256),
)
_EMBED_LINKS = (("url",), ("image", "url"), ("thumbnail", "url"), ("footer", "icon_url"), ("author", "icon_url"))
_CHOICE_VALUES: dict[int, tuple[type, ...]] = {3: (str,), 4: (int,), 10: (int, float)}
_SELECTS = (3, 5, 6, 7, 8)
_V2_TYPES = (1, 9, 10, 12, 13, 14, 17)


def check_files(files: Iterable[Upload], request_bytes: int, limit_bytes: int) -> None:
    uploads = list(files)
    if request_bytes > REQUEST_BYTES or any(len(upload.data) > limit_bytes for upload in uploads):
        raise Refusal(413, 40005, "Request entity too large")
    if len(uploads) > FILES:
        raise bad_form("attachments", "BASE_TYPE_MAX_LENGTH", f"Must be {FILES} or fewer in length.")


def check_mentions(allowed: Json | None) -> None:
    for kind in ("users", "roles"):
        if allowed and kind in (allowed.get("parse") or ()) and allowed.get(kind):
            text = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            raise bad_form("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", text)


def check_state(state: MessageState) -> None:
    """Refuse what a message may not become, by a create or an edit."""
    _longest("content", state.content, 2000)
    _counted("embeds", state.embeds, 0, 10)
    _counted("attachments", state.attachments, 0, FILES)
    for index, embed in enumerate(state.embeds):
        _check_embed(f"embeds.{index}", embed)
    if sum(_embed_size(embed) for embed in state.embeds) > 6000:
        raise bad_form("embeds", "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")
    if state.flags & COMPONENTS_V2:
        _check_v2(state)
    else:
        _check_rows(state.components)
    _check_custom_ids(state.components)
    if not (state.content.strip() or state.embeds or state.components or state.attachments or state.flags & LOADING):
        raise Refusal(400, 50006, "Cannot send an empty message")


def check_choices(choices: Sequence[Json], option_type: int) -> None:
    _counted("data.choices", choices, 0, 25)
    for index, choice in enumerate(choices):
        where, value = f"data.choices.{index}", choice["value"]
        _between(f"{where}.name", choice["name"], 1, 100)
        wanted = _CHOICE_VALUES[option_type]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise bad_form(f"{where}.value", "CHOICE_TYPE_MISMATCH", f"does not fit an option of type {option_type}")
        if isinstance(value, str):
            _longest(f"{where}.value", value, 100)


def check_modal(data: Json) -> None:
    _between("data.title", data.get("title") or "", 1, 45)
    _between("data.custom_id", data.get("custom_id") or "", 1, 100)
    components: list[Json] = data.get("components") or []
    _counted("data.components", components, 1, 5)
    for index, component in enumerate(components):
        if component.get("type") not in {1, 10, 18}:
            raise bad_form(f"data.components.{index}.type", "UNION_TYPE_CHOICES", "Value must be one of (1, 10, 18).")
        if component["type"] == 18:
            _between(f"data.components.{index}.label", component.get("label") or "", 1, 45)
    inputs = [part for part in walk(components) if part.get("type") == 4]
    for part in inputs:
        _longest("data.components.placeholder", part.get("placeholder") or "", 100)
        _longest("data.components.value", part.get("value") or "", min(4000, part.get("max_length") or 4000))
    _check_custom_ids(components)


def _check_embed(where: str, embed: Json) -> None:
    for path, limit in _EMBED_LENGTHS:
        _longest(".".join((where, *path)), _deep(embed, path) or "", limit)
    fields: list[Json] = embed.get("fields") or []
    _counted(f"{where}.fields", fields, 0, 25)
    for index, entry in enumerate(fields):
        for name, limit in (("name", 256), ("value", 1024)):
            text = entry.get(name) or ""
            _longest(f"{where}.fields.{index}.{name}", text, limit)
            if not text.strip():
                raise bad_form(f"{where}.fields.{index}.{name}", "BASE_TYPE_REQUIRED", "This field is required")
    for path in _EMBED_LINKS:
        url = _deep(embed, path)
        schemes = ("http://", "https://") if path == ("url",) else ("http://", "https://", "attachment://")
        if url and not url.startswith(schemes):
            scheme, text = url.split(":")[0], "is not one of ('http', 'https')."
            raise bad_form(".".join((where, *path)), "URL_TYPE_INVALID_SCHEME", f'Scheme "{scheme}" {text}')


def _embed_size(embed: Json) -> int:
    fields = [entry.get(name) or "" for entry in embed.get("fields") or [] for name in ("name", "value")]
    return sum(map(len, fields)) + sum(len(_deep(embed, path) or "") for path, _ in _EMBED_LENGTHS)


def _check_v2(state: MessageState) -> None:
    if state.content or state.embeds:
        text = "The 'content' and 'embeds' fields cannot be used when using MessageFlags.IS_COMPONENTS_V2"
        raise bad_form("", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", text)
    parts = [part for part in walk(state.components) if part.get("type") in {*_V2_TYPES, 2, 11, *_SELECTS}]
    _counted("components", parts, 1, 40)
    for index, component in enumerate(state.components):
        if component.get("type") not in _V2_TYPES:
            raise bad_form(f"components.{index}.type", "UNION_TYPE_CHOICES", f"Value must be one of {_V2_TYPES}.")
    texts = "".join(part.get("content") or "" for part in parts if part.get("type") == 10)
    _longest("components", texts, 4000)
    _check_row_contents(state.components)


def _check_rows(components: Sequence[Json]) -> None:
    _counted("components", components, 0, 5)
    for index, row in enumerate(components):
        if row.get("type") != 1:
            raise bad_form(f"components.{index}.type", "UNION_TYPE_CHOICES", "Value must be one of (1,).")
    _check_row_contents(components)


def _check_row_contents(components: Sequence[Json]) -> None:
    for index, row in enumerate(part for part in walk(components) if part.get("type") == 1):
        where = f"components.{index}.components"
        items: list[Json] = row.get("components") or []
        _counted(where, items, 1, 5)
        if len(items) > 1 and any(item.get("type") in _SELECTS for item in items):
            raise bad_form(
                where, "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "The specified component exceeds the maximum width"
            )
        for place, item in enumerate(items):
            if item.get("type") == 2:
                _check_button(f"{where}.{place}", item)
            elif item.get("type") == 3:
                _check_select(f"{where}.{place}", item)


def _check_button(where: str, button: Json) -> None:
    _longest(f"{where}.label", button.get("label") or "", 80)
    if not button.get("label") and not button.get("emoji") and button.get("style") != 6:
        raise bad_form(where, "BUTTON_COMPONENT_MISSING_LABEL", "A button requires a label or an emoji")
    if button.get("style") == 5 and (button.get("custom_id") or not button.get("url")):
        raise bad_form(where, "BUTTON_COMPONENT_INVALID_LINK", "A link button needs a url and takes no custom id")
    if button.get("style") not in {5, 6} and not button.get("custom_id"):
        raise bad_form(where, "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED", "A custom id is required")


def _check_select(where: str, select: Json) -> None:
    options: list[Json] = select.get("options") or []
    _counted(f"{where}.options", options, 1, 25)
    _longest(f"{where}.placeholder", select.get("placeholder") or "", 150)
    for index, option in enumerate(options):
        _between(f"{where}.options.{index}.label", option.get("label") or "", 1, 100)
        _between(f"{where}.options.{index}.value", option.get("value") or "", 1, 100)
        _longest(f"{where}.options.{index}.description", option.get("description") or "", 100)
    if len({option["value"] for option in options}) < len(options):
        text = "The specified option value is already used"
        raise bad_form(f"{where}.options", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", text)


def _check_custom_ids(components: Sequence[Json]) -> None:
    seen: set[str] = set()
    for custom_id in _custom_ids(components):
        _between("components.custom_id", custom_id, 1, 100)
        if custom_id in seen:
            raise bad_form("components", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
        seen.add(custom_id)


def _custom_ids(components: Sequence[Json]) -> Iterator[str]:
    return (part["custom_id"] for part in walk(components) if part.get("custom_id") is not None)


def _deep(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = (value or {}).get(name)
    return value


def _longest(where: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise bad_form(where, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def _between(where: str, text: str, low: int, high: int) -> None:
    if not low <= len(text) <= high:
        raise bad_form(where, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")


def _counted(where: str, items: Sequence[Any], low: int, high: int) -> None:
    if low == 0 and len(items) > high:
        raise bad_form(where, "BASE_TYPE_MAX_LENGTH", f"Must be {high} or fewer in length.")
    if not low <= len(items) <= high:
        raise bad_form(where, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
