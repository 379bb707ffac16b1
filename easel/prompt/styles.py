"""Styles: a ready-made piece of prompt, put around or after what was typed."""

from easel.prompt.text import bounded

PLACE = "{prompt}"
"""Where in a style the typed prompt goes."""


def apply_style(prompt: str, style: str) -> str:
    """Return `style` with the prompt in its place, or else both joined by a comma; raises BadPrompt if too long."""
    if PLACE in style:
        return bounded(style.replace(PLACE, prompt))
    return bounded(", ".join(filter(None, (prompt.strip(), style.strip()))))
