"""The `easel` command; everything heavier than its help is imported when a command runs."""

import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.flags import described
from bot.options import IMAGINE, Option
from easel.errors import EaselError, ModelsFileError, SettingsError

app = typer.Typer(
    name="easel",
    help="A self-hosted Stable Diffusion studio that lives in Discord and Telegram.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _parameter(option: Option) -> inspect.Parameter:
    """Turn a row of the table into a parameter of the command line."""
    spellings = [
        f"--{name}".replace("_", "-") if len(name) > 1 else f"-{name}" for name in (option.name, *option.flags)
    ]
    declared: Any = (
        typer.Argument(help=option.help, show_default=False)
        if option.required
        else typer.Option(*spellings, help=described(option), show_default=False)
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        # Wordless wishes there are too: to enlarge a picture, to draw one again.
        default="" if option.required else None,
        annotation=Annotated[_type(option), declared],
    )


def _type(option: Option) -> Any:
    if option.kind == "switch":
        return bool | None
    return str if option.required else str | None


def imagine(*, out: Path, **form: object) -> None:
    """Draw a picture and wait for it; starts what is not running yet."""
    from bot.local import imagine as draw

    draw({name: value for name, value in form.items() if value is not None}, out)


_OUT = inspect.Parameter(
    "out",
    inspect.Parameter.KEYWORD_ONLY,
    default=Path("out"),
    annotation=Annotated[Path, typer.Option("--out", help="Folder for the pictures")],
)
imagine.__signature__ = inspect.Signature([*map(_parameter, IMAGINE), _OUT])  # type: ignore[attr-defined]
app.command()(imagine)


@app.command()
def up() -> None:
    """Run everything on this machine: server, worker, delivery, and the bot for whichever tokens are set."""
    from bot.local import up as run_all

    sys.exit(run_all())


def _part(module: str) -> None:
    """Become one part of Easel."""
    import os

    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606


@app.command()
def bot() -> None:
    """Run the bot alone: Discord and Telegram, for whichever tokens are set."""
    _part("bot")


@app.command()
def worker(device: Annotated[str, typer.Option(help="cuda:0, cpu, …; default: all that can be seen")] = "") -> None:
    """Run one worker per visible device and keep them alive."""
    import os

    if device:
        os.environ["EASEL_DEVICE"] = device
    _part("worker")


@app.command()
def delivery() -> None:
    """Run the process that posts finished pictures."""
    _part("worker.delivery")


def main() -> None:
    """Run the command line; wrong settings end with 2, everything else that went wrong with 1, each with one sentence."""
    try:
        app()
    except EaselError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2 if isinstance(error, SettingsError | ModelsFileError) else 1)


if __name__ == "__main__":
    main()
