"""Charts as SVG that take the page's own colours and type, light or dark."""

from __future__ import annotations

import io
import re

import numpy as np
import numpy.typing as npt

from trainer.reporting.curves import Curve
from trainer.reporting.latents import LatentMap
from trainer.reporting.markup import Html, join, tag

Float64 = npt.NDArray[np.float64]

COLOURS = {"#000001": "var(--ink)", "#000002": "var(--faint)", "#000003": "var(--line)", "#000004": "var(--accent)",
           "#000005": "var(--motion)"}  # fmt: skip
"""What matplotlib draws in, and the page's colour that takes its place."""
INK, FAINT, LINE, ACCENT, MOTION = COLOURS
LEARNED, HELD_OUT = "in training", "held out"
WIDE_RANGE = 20.0
"""Beyond this ratio a curve is drawn on a logarithmic scale."""

MAP_SIZE, MAP_EDGE, POINT_RADIUS = 400, 14, 3.4
MAP_COLOURS = "cividis"
"""Made for the colour-blind, and even in lightness (Nuñez, Anderton and Renslow, 2018)."""


def curve_chart(curves: dict[str, Curve], label: str) -> Html:
    """Draw up to two curves of one value over the steps of training.

    Parameters
    ----------
    curves : dict of str to Curve
        `LEARNED`, `HELD_OUT` or both.
    label : str
        What a reader who does not see it is told.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    style = {"svg.fonttype": "none", "font.size": 10, "svg.hashsalt": label, "axes.linewidth": 0.8}
    with rc_context({**style, "axes.edgecolor": FAINT, "xtick.color": FAINT, "ytick.color": FAINT}):
        figure = Figure(figsize=(4.4, 2.3), facecolor="none")
        axes = figure.add_axes((0.11, 0.12, 0.86, 0.83), facecolor="none")
        for name, curve in curves.items():
            colour, width = (ACCENT, 1.8) if name == HELD_OUT else (MOTION, 1.3)
            axes.plot(curve.steps, curve.values, color=colour, linewidth=width)
        values = np.concatenate([curve.values for curve in curves.values()])
        if values.min() > 0 and values.max() / values.min() > WIDE_RANGE:
            axes.set_yscale("log")
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=bool(np.all(values == np.round(values)))))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        axes.grid(color=LINE, linewidth=0.7)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0, labelcolor=FAINT)
        drawn = io.StringIO()
        FigureCanvasSVG(figure).print_figure(drawn, format="svg", metadata={"Date": None})
    return _for_page(drawn.getvalue(), label)


def _thousands(value: float, _: int) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _for_page(svg: str, label: str) -> Html:
    """Take out what an element within a page must not have: a prologue, a size, a typeface, names of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", svg))
    kept = {name for pair in used for name in pair if name}
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in kept else "", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for drawn, shown in COLOURS.items():
        svg = svg.replace(drawn, shown)
    box = re.search(r'viewBox="[^"]+"', svg)
    inner = Html(svg[svg.index(">") + 1 : svg.rindex("</svg>")])
    shape = box[0].split('"')[1] if box else None
    xlink = {"xmlns:xlink": "http://www.w3.org/1999/xlink"}
    return tag("svg", inner, viewBox=shape, role="img", aria_label=label, **xlink)


def map_chart(drawn: LatentMap, values: Float64, label: str) -> Html:
    """Draw the latent map, each point in the colour of its value; points without a value are hollow."""
    points = drawn.points
    middle = (points.max(axis=0) + points.min(axis=0)) / 2.0
    half = max(float(np.ptp(points, axis=0).max()) / 2.0, 1e-9)
    scale = (MAP_SIZE / 2.0 - MAP_EDGE) / half
    places = MAP_SIZE / 2.0 + (points - middle) * scale * (1.0, -1.0)
    low, high = value_range(values)
    shares = (values - low) / max(high - low, 1e-9)
    circles = [
        tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=POINT_RADIUS, fill="none" if np.isnan(share) else colour(share))
        for (x, y), share in zip(places, shares, strict=True)
    ]
    return tag("svg", *circles, viewBox=f"0 0 {MAP_SIZE} {MAP_SIZE}", role="img", aria_label=label, class_="map")


def value_range(values: Float64) -> tuple[float, float]:
    """Lowest and highest value that a map's colours tell apart: the 2nd and the 98th percentile of what there is."""
    there = values[np.isfinite(values)]
    if not len(there):
        return 0.0, 1.0
    low, high = np.percentile(there, [2, 98])
    return float(low), float(high)


def colour(share: float) -> str:
    """Colour of a share from 0 to 1, as '#rrggbb'."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps[MAP_COLOURS](float(np.clip(share, 0.0, 1.0))))


def colour_bar(low: str, high: str) -> Html:
    """The legend of a map: what its colours mean, from the lowest to the highest value."""
    stops = ", ".join(colour(share) for share in np.linspace(0, 1, 9))
    bar = tag("span", class_="bar", style=f"background: linear-gradient(to right, {stops})", aria_hidden="true")
    return tag("p", join(tag("span", low), bar, tag("span", high)), class_="legend")
