"""What the fake Telegram accepts below a message: inline keyboards, and the other markups by name only."""

from typing import Any

from tests.fakes.telegram_messages import Json
from tests.fakes.telegram_world import bad

BUTTON_LIMIT = 100
ROW_LIMIT = 8
ACTIONS = {
    "url", "callback_data", "web_app", "login_url", "switch_inline_query", "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay",
}  # fmt: skip
STYLES = {None, "danger", "success", "primary"}


def inline_markup(value: Any) -> Json | None:
    """The keyboard to keep with the message; None when there is none. Raises ApiError 400 beyond a limit."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise bad("object expected as reply markup")
    if "inline_keyboard" not in value:
        return None
    rows = value["inline_keyboard"]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad("can't parse inline keyboard: expected an Array of Array of InlineKeyboardButton")
    if sum(map(len, rows)) > BUTTON_LIMIT or any(len(row) > ROW_LIMIT for row in rows):
        raise bad("REPLY_MARKUP_TOO_LONG")
    rows = [[_button(one) for one in row] for row in rows if row]
    return {"inline_keyboard": rows} if rows else None


def edited_markup(value: Any) -> Json | None:
    if isinstance(value, dict) and "inline_keyboard" not in value:
        raise bad("inline keyboard expected")
    return inline_markup(value)


def _button(value: Any) -> Json:
    if not isinstance(value, dict):
        raise bad("can't parse inline keyboard button: expected an object")
    label = value.get("text")
    if not isinstance(label, str) or not label.strip():
        raise bad("can't parse inline keyboard button: text is empty")
    if len(ACTIONS & value.keys()) != 1:
        raise bad("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if value.get("style") not in STYLES:
        raise bad("can't parse inline keyboard button: invalid button style")
    _check_action(value)
    return value


def _check_action(button: Json) -> None:
    if "callback_data" in button and not 1 <= len(str(button["callback_data"]).encode()) <= 64:
        raise bad("BUTTON_DATA_INVALID")
    if "url" in button and not str(button["url"]).startswith(("http://", "https://", "tg://")):
        raise bad(f"inline keyboard button URL '{button['url']}' is invalid: Wrong HTTP URL")
    if "copy_text" in button and not 1 <= len(str((button["copy_text"] or {}).get("text", ""))) <= 256:
        raise bad("BUTTON_COPY_TEXT_INVALID")
