"""The Lua scripts of this room, each an atomic step of a job's life."""

from functools import cache
from importlib import resources
from typing import Any

from redis import Redis


@cache
def _source(name: str) -> str:
    return resources.files("easel.job_queue").joinpath("lua", f"{name}.lua").read_text("utf-8")


class Scripts:
    """Runs a script by name; sends its text only when the server does not know it yet."""

    def __init__(self, connection: "Redis") -> None:
        self._scripts = {
            name: connection.register_script(_source(name))
            for name in ("claim", "give_back", "finish", "cancel", "placed", "take_owed", "mouth", "keep")
        }

    def run(self, name: str, *, keys: list[str], args: list[Any]) -> Any:
        return self._scripts[name](keys=keys, args=args)
