"""The kinds of values that settings have, and how each is read from text."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr


def setting(variable: str, default: object = None, *, expects: str, example: str = "") -> Any:
    """Describe one setting; `expects` ends the sentence "X is `…`, but must be"."""
    return Field(default, json_schema_extra={"variable": variable, "expects": expects, "example": example})


def secret(pattern: str) -> AfterValidator:
    """Check what a secret looks like without a word about it."""

    def check(secret: SecretStr) -> SecretStr:
        if not re.fullmatch(pattern, secret.get_secret_value()):
            raise ValueError
        return secret

    return AfterValidator(check)


def folders(value: object) -> object:
    """Split at `;` and at the separator of this system."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in re.split(f"[;{re.escape(os.pathsep)}]", value) if part.strip())


def hosts(value: object) -> object:
    if not isinstance(value, str):
        return value
    return frozenset(part.strip().lower() for part in value.split(",") if part.strip())


def people(value: object) -> object:
    if not isinstance(value, str):
        return value
    return frozenset(part.strip().partition(":")[::2] for part in value.split(",") if part.strip())


Somewhere = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
Web = Annotated[str, AfterValidator(lambda address: address.rstrip("/"))]
Lower = BeforeValidator(lambda word: str(word).lower())
Host = Annotated[str, Field(pattern=r"^(\[[0-9a-f:.]+\]|[^\s/@\[\]:]+)(:[0-9]+)?$")]
Chat = Annotated[str, Field(pattern=r"^(discord|telegram):(-?[0-9]+|all)$")]
Person = (
    tuple[Literal["discord", "telegram"], Annotated[str, Field(pattern="^[0-9]+$")]]
    | tuple[Literal["local"], Annotated[str, Field(pattern=r"^\S+$")]]
)
