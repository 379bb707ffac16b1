"""Questions that the bot must answer in time: pressed buttons and inline queries."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.telegram_fields import Call
from tests.fakes.telegram_messages import Json, User
from tests.fakes.telegram_world import ApiError, bad

TOO_OLD = "query is too old and response timeout expired or query ID is invalid"


@dataclass(slots=True, eq=False)
class Query:
    """A pressed button, or the text behind the bot's name; `answers` are the fields of each answer it got."""

    user: User
    data: str
    id: str = field(default_factory=lambda: str(secrets.randbelow(9 * 10**17) + 10**17))
    asked_at: float = field(default_factory=time.monotonic)
    answers: list[Json] = field(default_factory=list)
    update_id: int | None = None

    @property
    def answered(self) -> bool:
        return bool(self.answers)

    @property
    def answer_text(self) -> str:
        """What the person saw pop up; empty when nothing did."""
        return next((one["text"] for one in self.answers if one.get("text")), "")


class Queries:
    def __init__(self) -> None:
        self.life_s = 10.0
        """Seconds after which an answer comes too late."""
        self._open: dict[str, Query] = {}

    def table(self) -> dict[str, Callable[[Call], Any]]:
        return {"answerCallbackQuery": self.answer_callback, "answerInlineQuery": self.answer_inline}

    def ask(self, user: User, data: str) -> Query:
        query = Query(user, data)
        self._open[query.id] = query
        return query

    def answer_callback(self, call: Call) -> bool:
        query = self._waiting(call.text("callback_query_id"))
        if len(call.text("text")) > 200:
            raise bad("MESSAGE_TOO_LONG")
        query.answers.append(call.fields)
        return True

    def answer_inline(self, call: Call) -> bool:
        query = self._waiting(call.text("inline_query_id"))
        results = call.get("results")
        if not isinstance(results, list):
            raise bad("can't parse inline query results JSON object")
        if len(results) > 50:
            raise bad("RESULTS_TOO_MUCH")
        names = [str(one.get("id", "")) for one in results]
        if len(set(names)) < len(names):
            raise bad("RESULT_ID_DUPLICATE")
        if not all(1 <= len(one.encode()) <= 64 for one in names):
            raise bad("RESULT_ID_INVALID")
        query.answers.append(call.fields)
        return True

    def _waiting(self, query_id: str) -> Query:
        query = self._open.get(query_id)
        if query is None or time.monotonic() - query.asked_at > self.life_s:
            raise ApiError(400, f"Bad Request: {TOO_OLD}")
        return query
