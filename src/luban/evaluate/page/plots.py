"""Figures as inline SVG: no script, no network, the page's own colours, so that they print and turn dark with it.

Decided here: a figure is 340 units wide, so that its letters keep their size on a telephone; coordinates have
one decimal, so that a page of many curves stays small; what a figure shows is also said in words beside it,
or in a table. Knows no record and no language: labels come written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 24, 38
Write = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y) ascending in x, an optional band (low, high) at each, and how it is drawn.

    `mark` is a class of the page: "model", "other", "third", "guide".
    """

    label: str
    points: Sequence[tuple[float, float]]
    mark: str = "model"
    band: Sequence[tuple[float, float]] = ()
    dots: bool = False


@dataclass(frozen=True)
class Axis:
    """One axis: what it is, from where to where, and how its ticks are written."""

    label: str
    low: float
    high: float
    write: Write
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1; what lies beyond is drawn at the edge."""
        if self.log:
            value, low, high = (math.log(max(v, 1e-12)) for v in (value, self.low, self.high))
        else:
            low, high = self.low, self.high
        return min(max((value - low) / (high - low or 1.0), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Three to six values to write."""
        if self.log:
            return _log_ticks(self.low, self.high)
        return ticks(self.low, self.high)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values from `low` to `high`.

    >>> ticks(0, 1), ticks(0.62, 0.91)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.7, 0.8, 0.9])
    """
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-300):
        return [low]  # one value, or two that no axis tells apart
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    found = [m * 10.0**e for e in range(-6, 12) for m in (1, 2, 5) if low * 0.999 <= m * 10.0**e <= high * 1.001]
    return found[:: max(1, math.ceil(len(found) / 5))] or [low, high]


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line], diagonal: bool = False) -> Markup:
    """Curves over two axes; `diagonal` draws the line from corner to corner."""
    parts = [_open(title, HEIGHT), *_grid(x, y)]
    if diagonal:
        parts.append(f'<line class="honest" {_between(x, y, (x.low, y.low), (x.high, y.high))}/>')
    parts += [piece for line in lines for piece in _line(line, x, y)]
    return Markup("".join([*parts, "</svg>"]))


def _line(line: Line, x: Axis, y: Axis) -> list[str]:
    parts = []
    places = [_place(x, y, point) for point in line.points]
    if line.band:
        upper = [_place(x, y, (p[0], b[1])) for p, b in zip(line.points, line.band, strict=True)]
        lower = [_place(x, y, (p[0], b[0])) for p, b in zip(line.points, line.band, strict=True)]
        parts.append(f'<polygon class="band {line.mark}" points="{" ".join([*upper, *reversed(lower)])}"/>')
    if len(places) > 1:
        parts.append(f'<polyline class="line {line.mark}" points="{" ".join(places)}"/>')
    if line.dots or len(places) == 1:
        for place in places:
            cx, cy = place.split(",")
            parts.append(f'<circle class="dot {line.mark}" cx="{cx}" cy="{cy}" r="3"/>')
    return parts


@dataclass(frozen=True)
class Bubble:
    """One dot: where, its size as a share of all rows, and what it says when pointed at."""

    x: float
    y: float
    share: float
    says: str


def bubbles(title: str, x: Axis, y: Axis, found: Sequence[Bubble]) -> Markup:
    """Dots that grow with the number of rows, over the diagonal."""
    parts = [_open(title, HEIGHT), *_grid(x, y)]
    parts.append(f'<line class="honest" {_between(x, y, (x.low, y.low), (x.high, y.high))}/>')
    for dot in found:
        cx, cy = _place(x, y, (dot.x, dot.y)).split(",")
        radius = 2.5 + 13 * dot.share**0.5
        parts.append(
            f'<circle class="dot model soft" cx="{cx}" cy="{cy}" r="{radius:.1f}">'
            f"<title>{escape(dot.says)}</title></circle>"
        )
    return Markup("".join([*parts, "</svg>"]))


def columns(title: str, x: Axis, y: Axis, edges: Sequence[float], counts: Sequence[float]) -> Markup:
    """A histogram: `edges` one more than `counts`."""
    parts = [_open(title, HEIGHT), *_grid(x, y)]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        left, top = map(float, _place(x, y, (low, count)).split(","))
        right, base = map(float, _place(x, y, (high, y.low)).split(","))
        size = f'width="{max(right - left - 1, 0.5):.1f}" height="{max(base - top, 0):.1f}"'
        parts.append(f'<rect class="bar model" x="{left + 0.5:.1f}" y="{top:.1f}" {size}/>')
    return Markup("".join([*parts, "</svg>"]))


@dataclass(frozen=True)
class Span:
    """One line of an interval figure: a name, a value with its interval, how it is written and drawn."""

    label: str
    value: float
    low: float | None
    high: float | None
    written: str
    mark: str = "model"


def spans(title: str, axis: Axis, rows: Sequence[Span], line_at: float | None = None) -> Markup:
    """Values with intervals below one another over one axis; `line_at` draws a line down, such as no difference."""
    step, height = 40, 40 * len(rows) + 26
    left, wide = 8, WIDTH - 16
    parts = [_open(title, height)]
    for tick in axis.ticks():
        at = left + wide * axis.share(tick)
        parts.append(f'<line class="axis" x1="{at:.1f}" y1="4" x2="{at:.1f}" y2="{height - 20}"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{height - 6}" text-anchor="{_anchor(at)}">{escape(axis.write(tick))}</text>'
        )
    if line_at is not None:
        at = left + wide * axis.share(line_at)
        parts.append(f'<line class="honest" x1="{at:.1f}" y1="4" x2="{at:.1f}" y2="{height - 20}"/>')
    for number, row in enumerate(rows):
        base = 14 + step * number
        at = left + wide * axis.share(row.value)
        parts.append(f'<text class="name" x="{left}" y="{base}">{escape(row.label)}</text>')
        parts.append(f'<text class="name" x="{WIDTH - 8}" y="{base}" text-anchor="end">{escape(row.written)}</text>')
        if row.low is not None and row.high is not None:
            ends = (left + wide * axis.share(end) for end in (row.low, row.high))
            low, high = ends
            y = base + 12
            parts.append(f'<line class="whisker {row.mark}" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}"/>')
        parts.append(f'<circle class="dot {row.mark}" cx="{at:.1f}" cy="{base + 12}" r="4.5"/>')
    return Markup("".join([*parts, "</svg>"]))


def _open(title: str, height: int) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return f'<svg {size} role="img" aria-label="{escape(title)}">'


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick in x.ticks():
        at = LEFT + (right - LEFT) * x.share(tick)
        parts.append(f'<line class="axis" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 14}" text-anchor="{_anchor(at)}">{escape(x.write(tick))}</text>')
    for tick in y.ticks():
        at = bottom - (bottom - TOP) * y.share(tick)
        parts.append(f'<line class="axis" x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{escape(y.write(tick))}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>')
    parts.append(f'<text x="4" y="10">{escape(y.label)}</text>')
    return parts


def _anchor(at: float) -> str:
    return "end" if at > WIDTH - 22 else "start" if at < 14 else "middle"


def _place(x: Axis, y: Axis, point: tuple[float, float]) -> str:
    across = LEFT + (WIDTH - RIGHT - LEFT) * x.share(point[0])
    up = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * y.share(point[1])
    return f"{across:.1f},{up:.1f}"


def _between(x: Axis, y: Axis, first: tuple[float, float], last: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = (_place(x, y, point).split(",") for point in (first, last))
    return f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
