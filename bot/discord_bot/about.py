"""What the bot says about itself on Discord, from the tables."""

from bot.commands import COMMANDS
from bot.flags import described, example
from bot.options import IMAGINE


def help_text() -> str:
    """Return commands, fields and an example, in Discord's markup."""
    flag = next(shown for option in IMAGINE[1:] if not (shown := example(option)).endswith("…"))
    rare = [option for option in IMAGINE if option.rare]
    return "\n".join(
        [
            *(f"**/{command.name}**: {command.help}" for command in COMMANDS),
            f"In the menu of a message, Apps: {', '.join(command.menu for command in COMMANDS if command.menu)}",
            f"Fields of `/{COMMANDS[0].name}`:",
            *(f"- `{option.name}`: {described(option)}" for option in IMAGINE if not option.rare),
            f"They may also end your words, as in `a red apple {flag}`, and so may:",
            *(f"- `{option.name}`: {described(option)}" for option in rare),
        ]
    )
