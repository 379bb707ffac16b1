"""Draws what `python -m benchmarks.throughput --json` measured: how much faster than the bare loop, by waiting jobs.

python -m benchmarks.plot FIGURES.json docs/images/throughput.svg
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 110, 24, 46
COLORS = ("#4361c2", "#c2553f", "#3f8f5f", "#8a4fb0")

Curve = Mapping[str, float]
"""By the number of waiting jobs: the loop's time over ours."""


def svg(curves: Mapping[str, Curve]) -> str:
    """Return the plot of every model's curve; x is logarithmic, y begins at 0."""
    counts = sorted({int(n) for curve in curves.values() for n in curve})
    most = max(ratio for curve in curves.values() for ratio in curve.values())
    top = int(most) + 1
    places = {n: LEFT + index * (WIDTH - LEFT - RIGHT) / max(1, len(counts) - 1) for index, n in enumerate(counts)}

    def height(ratio: float) -> float:
        return HEIGHT - BOTTOM - ratio / top * (HEIGHT - TOP - BOTTOM)

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    for ratio in range(top + 1):
        y = height(ratio)
        strong = "#555555" if ratio == 1 else "#dddddd"
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{strong}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{ratio}x", anchor="end"))
    parts += [_text(x, HEIGHT - BOTTOM + 18, str(n)) for n, x in places.items()]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "waiting jobs"))
    for color, (name, curve) in zip(COLORS, curves.items(), strict=False):
        points = [(places[int(n)], height(ratio)) for n, ratio in curve.items()]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in points]
        parts.append(_text(points[-1][0] + 8, points[-1][1] + 4, name, anchor="start", color=color))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, "<title>Pictures per second over a bare diffusers loop</title>", *parts, "</svg>\n"])


def _text(x: float, y: float, words: str, *, anchor: str = "middle", color: str = "#333333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}" fill="{color}">{words}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    figures = json.loads(options.figures.read_text())
    options.picture.write_text(svg({name: row["curve"] for name, row in figures.items() if row["curve"]}))


if __name__ == "__main__":
    main()
