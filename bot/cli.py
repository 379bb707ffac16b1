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
    if option.several:
        return list[str] | None
    return str if option.required else str | None


def imagine(*, out: Path, **form: object) -> None:
    """Draw a picture and wait for it; starts what is not running yet."""
    from bot.local import imagine as draw

    lists = {name: ", ".join(value) or None for name, value in form.items() if isinstance(value, list)}
    draw({name: value for name, value in (form | lists).items() if value is not None}, out)


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


models = typer.Typer(help="What lies in the models folders.", no_args_is_help=True)
app.add_typer(models, name="models")

_KIND = typer.Option(help="Only this kind: checkpoint, lora, embedding, vae, …")


@models.command("list")
def models_list(
    search: Annotated[str, typer.Argument(help="Part of a name", show_default=False)] = "",
    kind: Annotated[str, _KIND] = "",
) -> None:
    """List the models, and say what is wrong with files that are not used."""
    from bot.models import list_models

    list_models(kind, search)


@models.command("info")
def models_info(name: str, kind: Annotated[str, _KIND] = "") -> None:
    """Tell all that is known about a model."""
    from bot.models import show

    show(name, kind)


@models.command("verify")
def models_verify(
    name: Annotated[str, typer.Argument(help="Only this model", show_default=False)] = "",
) -> None:
    """Read files from end to end and compare their hashes; ends with 1 where one is damaged."""
    from bot.models import verify

    sys.exit(verify(name))


@models.command("import")
def models_import(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders in the diffusers layout")],
    move: Annotated[bool, typer.Option("--move", help="Leave nothing where it was")] = False,
    kind: Annotated[str, typer.Option(help="What a pickle is, which nothing else can tell")] = "",
) -> None:
    """Put files into the models folders, each where its content says; a link where that is possible, else a copy."""
    from bot.models import bring

    bring(paths, move=move, kind=kind)


@models.command("merge")
def models_merge(
    checkpoints: Annotated[list[str], typer.Argument(help="Two; three with --add-difference; one with --lora")],
    weight: Annotated[float, typer.Option("--weight", help="0 keeps the first, 1 takes the second")] = 0.5,
    add_difference: Annotated[bool, typer.Option("--add-difference", help="First + weight x (second - third)")] = False,
    lora: Annotated[list[str] | None, typer.Option("--lora", help="Bake a LoRA in: name:0.8; may be repeated")] = None,
    out: Annotated[str, typer.Option("--out", help="Name of the new checkpoint")] = "",
) -> None:
    """Make a new checkpoint of others, written as one file with its recipe."""
    from bot.models import merge

    sys.exit(merge(checkpoints, weight, add_difference=add_difference, loras=lora or [], out=out))


def main() -> None:
    """Run the command line; wrong settings end with 2, everything else that went wrong with 1, each with one sentence."""
    try:
        app()
    except EaselError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2 if isinstance(error, SettingsError | ModelsFileError) else 1)


if __name__ == "__main__":
    main()
