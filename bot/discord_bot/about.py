"""What the bot says about itself on Discord, from the tables."""

from bot.commands import COMMANDS
from bot.flags import example
from bot.options import IMAGINE, Option


def help_text() -> str:
    """Return commands, fields and an example, in Discord's markup."""
    asked, *fields = IMAGINE
    flag = next(shown for option in fields if not (shown := example(option)).endswith("…"))
    return "\n".join(
        [
            *(f"**/{command.name}**: {command.help}" for command in COMMANDS),
            "",
            f"`/{COMMANDS[0].name}` asks for:",
            *(f"- `{option.name}`: {option.help}{_limits(option)}" for option in IMAGINE),
            "",
            f"Instead of a field, `{asked.name}` may end with a flag: `a red apple {flag}`.",
        ]
    )


def _limits(option: Option) -> str:
    if option.low is None or option.high is None:
        return ""
    return f" ({option.low:g} to {option.high:.12g})"
