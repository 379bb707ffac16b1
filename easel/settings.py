"""Every setting of both processes, read once from the environment, `.env` and `*_FILE` secrets."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from easel.env_files import plain, read_dotenv, read_secret, warn_if_open
from easel.errors import SettingsError
from easel.key_file import KEY_LENGTH, kept_key
from easel.names import Names
from easel.redis_address import objection

_EXAMPLE_HEAD = """\
# The settings of Easel. Copy this file to `.env` beside it, `chmod 600 .env`, and fill in what you need:
# nothing is needed for a first try. A variable of the environment wins over its line here; an empty one is unset.
"""


def _setting(variable: str, default: object = None, *, expects: str, example: str = "") -> Any:
    """Describe one setting; `expects` ends the sentence "X is `…`, but must be"."""
    return Field(default, json_schema_extra={"variable": variable, "expects": expects, "example": example})


def _secret(pattern: str) -> AfterValidator:
    """Check what a secret looks like without a word about it."""

    def check(secret: SecretStr) -> SecretStr:
        if not re.fullmatch(pattern, secret.get_secret_value()):
            raise ValueError
        return secret

    return AfterValidator(check)


def _folders(value: object) -> object:
    """Split at `;` and at the separator of this system."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in re.split(f"[;{re.escape(os.pathsep)}]", value) if part.strip())


def _hosts(value: object) -> object:
    if not isinstance(value, str):
        return value
    return frozenset(part.strip().lower() for part in value.split(",") if part.strip())


def _people(value: object) -> object:
    if not isinstance(value, str):
        return value
    return frozenset(part.strip().partition(":")[::2] for part in value.split(",") if part.strip())


Somewhere = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
Web = Annotated[str, AfterValidator(lambda address: address.rstrip("/"))]
Lower = BeforeValidator(lambda word: str(word).lower())
Host = Annotated[str, Field(pattern=r"^(\[[0-9a-f:.]+\]|[^\s/@\[\]:]+)(:[0-9]+)?$")]
Person = (
    tuple[Literal["discord", "telegram"], Annotated[str, Field(pattern="^[0-9]+$")]]
    | tuple[Literal["local"], Annotated[str, Field(pattern=r"^\S+$")]]
)


class Settings(BaseSettings):
    """Reads nothing by itself: `load_settings` does."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    discord_token: Annotated[SecretStr, _secret("[!-~]+")] | None = _setting(
        "DISCORD_TOKEN", expects="a bot token: one word without spaces"
    )
    """The bot's token, from https://discord.com/developers/applications. Unset: Easel is not on Discord."""
    discord_api_base: Annotated[Web, Field(pattern=r"^https?://\S+$")] = _setting(
        "DISCORD_API_BASE", "https://discord.com/api/v10", expects="an http:// or https:// address"
    )
    """Where Discord's HTTP API is."""
    discord_gateway: Annotated[str, Field(pattern=r"^wss?://\S+$")] | None = _setting(
        "DISCORD_GATEWAY", expects="a ws:// or wss:// address", example="wss://gateway.discord.gg"
    )
    """Where Discord's gateway is. Unset: where Discord says."""
    telegram_token: Annotated[SecretStr, _secret("[0-9]+:[A-Za-z0-9_-]+")] | None = _setting(
        "TELEGRAM_TOKEN", expects="a bot token: digits, a colon, and letters without spaces"
    )
    """The bot's token, from @BotFather. Unset: Easel is not on Telegram."""
    telegram_api_base: Annotated[Web, Field(pattern=r"^https?://\S+/bot/?$")] = _setting(
        "TELEGRAM_API_BASE", "https://api.telegram.org/bot", expects="an http:// or https:// address that ends in /bot"
    )
    """Where Telegram's Bot API is, as far as the token; change it for a Bot API server of your own."""
    telegram_file_base: Annotated[Web, Field(pattern=r"^https?://\S+/bot/?$")] = _setting(
        "TELEGRAM_FILE_BASE",
        "https://api.telegram.org/file/bot",
        expects="an http:// or https:// address that ends in /bot",
    )
    """Where Telegram's files are, as far as the token."""
    redis_url: SecretStr | None = _setting(
        "REDIS_URL", expects="a redis://, rediss:// or unix:// address", example="redis://:PASSWORD@redis:6379/0"
    )
    """The Redis or Valkey that carries the queue: redis://, rediss:// (TLS) or unix://. An authority of your own is
    named by ?ssl_ca_certs=/path/ca.pem. Unset: Easel runs a server of its own in the data folder."""
    allow_insecure_redis: bool = _setting("EASEL_ALLOW_INSECURE_REDIS", False, expects="1 or 0")
    """1: use a Redis on another machine though it asks for no password, or though its certificate is not checked."""
    easel_key: Annotated[SecretStr, _secret(f"[!-~]{{{KEY_LENGTH},}}")] | None = _setting(
        "EASEL_KEY", expects=f"at least {KEY_LENGTH} characters, as `openssl rand -hex 32` prints them"
    )
    """Signs jobs and buttons; all machines of one installation need the same. Unset: made in the data folder."""
    models_dir: Annotated[tuple[Somewhere, ...], BeforeValidator(_folders), Field(min_length=1)] = _setting(
        "EASEL_MODELS_DIR", (Path("models"),), expects="a folder, or several parted by ;", example="models;/mnt/models"
    )
    """The model folders, laid out as AUTOMATIC1111 does, several parted by ; (or by : outside Windows)."""
    models_file: Somewhere = _setting("EASEL_MODELS_FILE", Path("models.yaml"), expects="a file")
    """What the model files can not say about themselves: titles, defaults, who may use them."""
    styles_file: Somewhere = _setting("EASEL_STYLES_FILE", Path("styles.csv"), expects="a file")
    """Ready-made pieces of prompt, as AUTOMATIC1111 keeps them: name,prompt,negative_prompt. It need not be there."""
    wildcards_dir: Somewhere = _setting("EASEL_WILDCARDS_DIR", Path("models/wildcards"), expects="a folder")
    """Lists of words, one .txt file each, that prompts name as __file__. It need not be there."""
    private_hosts: Annotated[frozenset[Host], BeforeValidator(_hosts)] = _setting(
        "EASEL_PRIVATE_HOSTS", frozenset(), expects="a list of hosts like nas.lan,10.0.0.5:8080"
    )
    """Hosts inside your own network, parted by commas, from which everybody may have pictures fetched by address."""
    data_dir: Somewhere = _setting("EASEL_DATA_DIR", Path("data"), expects="a folder")
    """Where Easel keeps what it must not lose: its server's data and its key."""
    admins: Annotated[frozenset[Person], BeforeValidator(_people)] = _setting(
        "EASEL_ADMINS",
        frozenset(),
        expects="a list like discord:ID,telegram:ID with numeric ids",
        example="discord:80351110224678912,telegram:123456789",
    )
    """Who may change models and limits."""
    device: Annotated[str, Lower, Field(pattern=r"^(|cpu|mps|(cuda|xpu)(:[0-9]+)?)$")] = _setting(
        "EASEL_DEVICE", "", expects="cpu, cuda, cuda:N, xpu, xpu:N or mps", example="cuda:0"
    )
    """The device to render on. Unset: all that can be seen."""
    gpu_dtype: Annotated[Literal["auto", "float16", "bfloat16", "float32"], Lower] = _setting(
        "EASEL_DTYPE", "auto", expects="auto, float16, bfloat16 or float32"
    )
    """The numbers a GPU computes with."""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda word: str(word).upper())
    ] = _setting("EASEL_LOG_LEVEL", "INFO", expects="DEBUG, INFO, WARNING or ERROR")
    """The least important lines that are logged."""
    log_format: Annotated[Literal["auto", "human", "json"], Lower] = _setting(
        "EASEL_LOG_FORMAT", "auto", expects="auto, human or json"
    )
    """auto: for people on a terminal, one JSON object a line elsewhere."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.redis_url is not None:
            wrong = objection(self.redis_url.get_secret_value(), insecure=self.allow_insecure_redis)
            if wrong:
                raise ValueError(wrong)
        return self

    def changed(self, **changes: object) -> "Settings":
        """Return a copy with `changes`, checked as at the start."""
        return _checked(dict(self) | changes)

    def is_admin(self, asker_key: str) -> bool:
        """Say whether `network:id` is on the list."""
        return asker_key.partition(":")[::2] in self.admins

    def signing_key(self) -> bytes:
        """Return what signs jobs and buttons; unset, it is made in the data folder and stays there."""
        if self.easel_key is not None:
            return self.easel_key.get_secret_value().encode()
        return kept_key(self.data_dir / "easel.key")

    def environment(self) -> dict[str, str]:
        """Return the variables that hand these settings to a child process, secrets in clear."""
        # The child is given the secret itself; the name of its file beside it would count as a second one.
        files = {f"{_VARIABLES[name]}_FILE": "" for name in _SECRETS}
        return files | {variable: _written(getattr(self, name)) for name, variable in _VARIABLES.items()}


_FIELDS = Settings.model_fields
_EXTRAS = {name: cast("dict[str, str]", field.json_schema_extra) for name, field in _FIELDS.items()}
_VARIABLES = {name: extra["variable"] for name, extra in _EXTRAS.items()}
_SECRETS = [name for name, field in _FIELDS.items() if "SecretStr" in repr(field.annotation)]


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read `.env` in the working directory, over it the environment, over both the overrides that are not None.

    Raises SettingsError with one sentence about the first thing that is wrong.
    """
    environ = os.environ if environ is None else environ
    file = Path(".env")
    dotenv = read_dotenv(file)
    given = {name: text for name, value in (dotenv | dict(environ)).items() if (text := value.strip())}
    _refuse_unknown(given)
    values: dict[str, object] = {name: given[variable] for name, variable in _VARIABLES.items() if variable in given}
    values |= {name: read_secret(_VARIABLES[name], given) for name in _SECRETS if f"{_VARIABLES[name]}_FILE" in given}
    if any(dotenv.get(_VARIABLES[name]) and _VARIABLES[name] not in environ for name in _SECRETS):
        warn_if_open(file)
    return _checked(values | {name: value for name, value in overrides.items() if value is not None})


def _checked(values: Mapping[str, object]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        # Not chained: the original carries the values, and the sentence says it all.
        raise SettingsError(_sentence(error.errors()[0], values)) from None


def _sentence(detail: ErrorDetails, values: Mapping[str, object]) -> str:
    if not detail["loc"]:
        return f"REDIS_URL is `***`, but must be {detail['ctx']['error']}."
    name = str(detail["loc"][0])
    shown = "***" if name in _SECRETS else plain(str(values[name]))
    return f"{_VARIABLES[name]} is `{shown}`, but must be {_EXTRAS[name]['expects']}."


def _refuse_unknown(given: Mapping[str, str]) -> None:
    known = [*_VARIABLES.values(), *(f"{_VARIABLES[name]}_FILE" for name in _SECRETS)]
    for variable in given:
        if variable.startswith("EASEL_") and variable not in known:
            nearest = known[Names([[one] for one in known]).nearest(variable, 1)[0]]
            # Without its value: a misspelt secret is a secret.
            raise SettingsError(f"There is no setting {plain(variable)}; did you mean {nearest}?")


def _written(value: object) -> str:
    """Write a setting as it is read."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case tuple():
            return ";".join(map(str, value))
        case frozenset():
            return ",".join(sorted(one if isinstance(one, str) else ":".join(one) for one in value))
        case bool():
            return "1" if value else "0"
        case _:
            return "" if value is None else str(value)


def example() -> str:
    """Return the text of `.env.example`."""
    return "\n".join([_EXAMPLE_HEAD, *(_example_of(name) for name in _VARIABLES)])


def _example_of(name: str) -> str:
    variable, field = _VARIABLES[name], _FIELDS[name]
    lines = (field.description or "").splitlines()
    if shown := _EXTRAS[name]["example"]:
        lines.append(f"For example: {variable}={shown}")
    if name in _SECRETS:
        lines.append(f"Or from a file: {variable}_FILE=/run/secrets/{variable.lower()}")
    default = _written(field.default)
    # A default stands behind a "#": whoever copies the file still gets the default of a later release.
    return "\n".join([*(f"# {line}" for line in lines), f"{'#' if default else ''}{variable}={default}"]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(example())
