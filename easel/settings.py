"""Every setting of both processes, read once from the environment, `.env` and `*_FILE` secrets."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, cast

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from easel.env_files import plain, read_dotenv, read_secret, warn_if_open
from easel.errors import SettingsError
from easel.key_file import KEY_LENGTH, kept_key
from easel.names import Names
from easel.redis_address import objection
from easel.setting_kinds import Chat, Host, Lower, Person, Somewhere, Web, folders, hosts, people, secret, setting

_EXAMPLE_HEAD = """\
# The settings of Easel. Copy this file to `.env` beside it, `chmod 600 .env`, and fill in what you need:
# nothing is needed for a first try. A variable of the environment wins over its line here; an empty one is unset.
"""


class Settings(BaseSettings):
    """Reads nothing by itself: `load_settings` does."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    discord_token: Annotated[SecretStr, secret("[!-~]+")] | None = setting(
        "DISCORD_TOKEN", expects="a bot token: one word without spaces"
    )
    """The bot's token, from https://discord.com/developers/applications. Unset: Easel is not on Discord."""
    discord_api_base: Annotated[Web, Field(pattern=r"^https?://\S+$")] = setting(
        "DISCORD_API_BASE", "https://discord.com/api/v10", expects="an http:// or https:// address"
    )
    """Where Discord's HTTP API is."""
    discord_gateway: Annotated[str, Field(pattern=r"^wss?://\S+$")] | None = setting(
        "DISCORD_GATEWAY", expects="a ws:// or wss:// address", example="wss://gateway.discord.gg"
    )
    """Where Discord's gateway is. Unset: where Discord says."""
    telegram_token: Annotated[SecretStr, secret("[0-9]+:[A-Za-z0-9_-]+")] | None = setting(
        "TELEGRAM_TOKEN", expects="a bot token: digits, a colon, and letters without spaces"
    )
    """The bot's token, from @BotFather. Unset: Easel is not on Telegram."""
    telegram_api_base: Annotated[Web, Field(pattern=r"^https?://\S+/bot/?$")] = setting(
        "TELEGRAM_API_BASE", "https://api.telegram.org/bot", expects="an http:// or https:// address that ends in /bot"
    )
    """Where Telegram's Bot API is, as far as the token; change it for a Bot API server of your own."""
    telegram_file_base: Annotated[Web, Field(pattern=r"^https?://\S+/bot/?$")] = setting(
        "TELEGRAM_FILE_BASE",
        "https://api.telegram.org/file/bot",
        expects="an http:// or https:// address that ends in /bot",
    )
    """Where Telegram's files are, as far as the token."""
    redis_url: SecretStr | None = setting(
        "REDIS_URL", expects="a redis://, rediss:// or unix:// address", example="redis://:PASSWORD@redis:6379/0"
    )
    """The Redis or Valkey that carries the queue: redis://, rediss:// (TLS) or unix://. An authority of your own is
    named by ?ssl_ca_certs=/path/ca.pem. Unset: Easel runs a server of its own in the data folder."""
    allow_insecure_redis: bool = setting("EASEL_ALLOW_INSECURE_REDIS", False, expects="1 or 0")
    """1: use a Redis on another machine though it asks for no password, or though its certificate is not checked."""
    easel_key: Annotated[SecretStr, secret(f"[!-~]{{{KEY_LENGTH},}}")] | None = setting(
        "EASEL_KEY", expects=f"at least {KEY_LENGTH} characters, as `openssl rand -hex 32` prints them"
    )
    """Signs jobs and buttons; all machines of one installation need the same. Unset: made in the data folder."""
    models_dir: Annotated[tuple[Somewhere, ...], BeforeValidator(folders), Field(min_length=1)] = setting(
        "EASEL_MODELS_DIR", (Path("models"),), expects="a folder, or several parted by ;", example="models;/mnt/models"
    )
    """The model folders, laid out as AUTOMATIC1111 does, several parted by ; (or by : outside Windows)."""
    comfyui_paths: Somewhere | None = setting(
        "EASEL_COMFYUI_PATHS", expects="a file", example="/opt/ComfyUI/extra_model_paths.yaml"
    )
    """ComfyUI's extra_model_paths.yaml: the folders it names are looked into as well."""
    models_file: Somewhere = setting("EASEL_MODELS_FILE", Path("models.yaml"), expects="a file")
    """What the model files can not say about themselves: titles, defaults, who may use them."""
    allow_pickles: bool = setting("EASEL_ALLOW_PICKLES", False, expects="1 or 0")
    """1: also use old .ckpt, .pt, .pth and .bin files. They can run code where they are simply loaded; here each is
    turned into .safetensors once, in the data folder, by a program that runs nothing in it. Say so on every machine."""
    styles_file: Somewhere = setting("EASEL_STYLES_FILE", Path("styles.csv"), expects="a file")
    """Ready-made pieces of prompt, as AUTOMATIC1111 keeps them: name,prompt,negative_prompt. It need not be there."""
    wildcards_dir: Somewhere = setting("EASEL_WILDCARDS_DIR", Path("models/wildcards"), expects="a folder")
    """Lists of words, one .txt file each, that prompts name as __file__. It need not be there."""
    private_hosts: Annotated[frozenset[Host], BeforeValidator(hosts)] = setting(
        "EASEL_PRIVATE_HOSTS", frozenset(), expects="a list of hosts like nas.lan,10.0.0.5:8080"
    )
    """Hosts inside your own network, parted by commas, from which everybody may have pictures fetched by address."""
    nsfw_chats: Annotated[frozenset[Chat], BeforeValidator(hosts)] = setting(
        "EASEL_NSFW_CHATS",
        frozenset(),
        expects="a list like discord:ID,telegram:ID,telegram:all",
        example="discord:80351110224678912,telegram:-1001234567890",
    )
    """Chats, parted by commas, in which models marked nsfw may be used, besides Discord's age-restricted channels."""
    data_dir: Somewhere = setting("EASEL_DATA_DIR", Path("data"), expects="a folder")
    """Where Easel keeps what it must not lose: its server's data and its key."""
    admins: Annotated[frozenset[Person], BeforeValidator(people)] = setting(
        "EASEL_ADMINS",
        frozenset(),
        expects="a list like discord:ID,telegram:ID with numeric ids",
        example="discord:80351110224678912,telegram:123456789",
    )
    """Who may change models and limits."""
    device: Annotated[str, Lower, Field(pattern=r"^(|cpu|mps|(cuda|xpu)(:[0-9]+)?)$")] = setting(
        "EASEL_DEVICE", "", expects="cpu, cuda, cuda:N, xpu, xpu:N or mps", example="cuda:0"
    )
    """The device to render on. Unset: all that can be seen."""
    gpu_dtype: Annotated[Literal["auto", "float16", "bfloat16", "float32"], Lower] = setting(
        "EASEL_DTYPE", "auto", expects="auto, float16, bfloat16 or float32"
    )
    """The numbers a GPU computes with."""
    ram_gb: Annotated[float, Field(ge=0, le=100_000)] | None = setting(
        "EASEL_RAM_GB", expects="a number of gigabytes", example="32"
    )
    """Memory of each worker for checkpoints that are read before the device is free for them; what other programs need,
    they get. Unset: half of what there is, or a quarter where the device is the CPU."""
    kept_mb: Annotated[int, Field(ge=0)] = setting("EASEL_KEPT_MB", 256, expects="a whole number")
    """Megabytes in Redis for pictures that people send: what was longest not used goes, but none within a day."""
    compiled: bool = setting("EASEL_COMPILE", False, expects="1 or 0")
    """1: compile the UNet on GPUs of NVIDIA. The first picture of each checkpoint takes a minute more, the others less."""
    previews: bool = setting("EASEL_PREVIEWS", True, expects="1 or 0")
    """1: who waits long for a picture sees it take shape."""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda word: str(word).upper())
    ] = setting("EASEL_LOG_LEVEL", "INFO", expects="DEBUG, INFO, WARNING or ERROR")
    """The least important lines that are logged."""
    log_format: Annotated[Literal["auto", "human", "json"], Lower] = setting(
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
