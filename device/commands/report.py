"""The report of a performance: a picture to look at and the figures to keep."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.core.latency import BIN_MS, LatencyHistogram
from device.core.spectrogram import BANDS_PER_OCTAVE, LOWEST_HZ, spectrogram_db
from device.engine.performance import Performance
from device.engine.tape import Tape
from device.store.files import replace_synced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float32 = npt.NDArray[np.float32]

WIDTH_PX, HEIGHT_PX, DPI = 1600, 900, 100
INK, FAINT, MOTION_INK, SOUND_INK = "#22262b", "#8a9099", "#2a6f97", "#b23a48"
RANGE_DB = 70.0
SOUND_COLOURS = ("#ffffff", "#fbe3c8", "#f0a35e", "#cf4b4f", "#7a1f5c", "#1d0a33")  # from silence to the loudest
N_PICTURE_COLUMNS = 1400
LEVEL_S = 0.05


def write_report(folder: Path, summary: dict[str, object], performance: Performance, tape: Tape, n_rows: int) -> None:
    """Leave `performance.png` and `summary.json` in a folder, which is made.

    Parameters
    ----------
    folder : Path
    summary : dict
        What `--json` prints.
    performance : Performance
    tape : Tape
        Columns and sound; the picture shows what it holds.
    n_rows : int
        Of a column, the values that are rows of the picture; the others are its columns.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replace_synced(folder / "performance.png", draw(summary, performance, tape, n_rows))
    replace_synced(folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())


def draw(summary: dict[str, object], performance: Performance, tape: Tape, n_rows: int) -> bytes:
    """Draw the motiongram over the spectrogram, with latencies beside them; give a PNG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {"font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FAINT, "axes.linewidth": 0.8}
    with rc_context({**style, "xtick.color": INK, "ytick.color": INK, "axes.titlesize": 11}):
        figure = Figure(figsize=(WIDTH_PX / DPI, HEIGHT_PX / DPI), dpi=DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        _title(figure, summary)
        grid = figure.add_gridspec(
            3, 2, width_ratios=[7.5, 1], height_ratios=[3, 1.1, 4.2], left=0.065, right=0.985, top=0.885, bottom=0.06,
            hspace=0.06, wspace=0.13,
        )  # fmt: skip
        motion = figure.add_subplot(grid[0, 0])
        curves = figure.add_subplot(grid[1, 0], sharex=motion)
        sound = figure.add_subplot(grid[2, 0], sharex=motion)
        _draw_motiongram(motion, tape, n_rows)
        _draw_curves(curves, tape, n_rows)
        _draw_spectrogram(sound, tape)
        motion.set_xlim(0.0, max(len(tape.sound) / tape.rate_hz, 1e-3))
        beside = grid[:, 1].subgridspec(4, 1, height_ratios=[0.25, 2, 0.3, 2], hspace=0.5)
        _draw_latency(figure.add_subplot(beside[1]), "frame to sound", performance.frame_to_sound, SOUND_INK)
        _draw_latency(figure.add_subplot(beside[3]), "engine alone", performance.engine, MOTION_INK)
        png = io.BytesIO()
        canvas.print_figure(png, format="png")
        return png.getvalue()


def _title(figure: Figure, summary: dict[str, object]) -> None:
    figure.text(0.065, 0.957, str(summary["model"]), fontsize=17, fontweight="bold", va="center")
    how = (
        f"{summary['variant']} on {summary['runtime']}  ·  {summary['mode']} mode"
        f"  ·  temperature {summary['temperature']:g}  ·  {summary['clock']} clock"
        f"  ·  {summary['n_frames']} frames, {summary['duration_s']:.1f} s of sound"
        f"  ·  {100 * _number(summary['rtf']):.1f}% of one core  ·  {summary['n_xruns']} underruns"
    )
    figure.text(0.065, 0.915, how, fontsize=10.5, color=FAINT, va="center")


def _name(axes: Axes, name: str, colour: str) -> None:
    axes.text(
        0.008, 0.955, name, transform=axes.transAxes, va="top", color=colour, fontsize=11, fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2.0},
    )  # fmt: skip


def _number(value: object) -> float:
    return float(str(value))


def _draw_motiongram(axes: Axes, tape: Tape, n_rows: int) -> None:
    """Rows of the picture from its top to its bottom, at the times of their frames."""
    columns = np.sqrt(tape.columns[:, :n_rows].T)  # what is faint is seen beside what is strong
    edges_s = _edges(tape.times_s)
    top = float(np.percentile(columns, 99.5)) if columns.size else 0.0
    axes.pcolormesh(
        edges_s, np.arange(n_rows + 1), columns, cmap="Greys", vmin=0.0, vmax=max(top, 0.1), rasterized=True
    )
    axes.set_ylim(n_rows, 0)
    axes.set_yticks([0, n_rows], ["top of the\npicture", "bottom"])
    axes.tick_params(left=False)
    _name(axes, "motion", MOTION_INK)
    axes.tick_params(labelbottom=False)


def _edges(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each frame lasts until the next one, the last as long as the one before; shape (n + 1,)."""
    last_s = times_s[-1] - times_s[-2] if len(times_s) > 1 else 0.04
    return np.append(times_s, times_s[-1] + last_s)


def _draw_curves(axes: Axes, tape: Tape, n_rows: int) -> None:
    quantity = tape.columns[:, :n_rows].mean(axis=1)
    axes.plot(tape.times_s, quantity, color=MOTION_INK, linewidth=0.9)
    axes.set_ylabel("quantity of\nmotion", color=MOTION_INK)
    # The first frames of a clip may jump far above all else.
    axes.set_ylim(0.0, max(1.25 * float(np.percentile(quantity, 99)), 0.1))
    axes.tick_params(labelbottom=False)
    loudness = axes.twinx()
    times_s, level_db = _levels(tape)
    loudness.plot(times_s, level_db, color=SOUND_INK, linewidth=0.9)
    loudness.set_ylim(-RANGE_DB, 0.0)
    loudness.set_yticks([-60, -30, 0])
    loudness.set_ylabel("dBFS", color=SOUND_INK, labelpad=4)


def _levels(tape: Tape) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    n = round(LEVEL_S * tape.rate_hz)
    n_levels = len(tape.sound) // n
    power = np.square(tape.sound[: n_levels * n].reshape(n_levels, n), dtype=np.float64).mean(axis=1)
    return (np.arange(n_levels) + 0.5) * LEVEL_S, 10.0 * np.log10(power + 1e-12)


def _draw_spectrogram(axes: Axes, tape: Tape) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    level_db, frequency_hz = spectrogram_db(tape.sound, tape.rate_hz, N_PICTURE_COLUMNS)
    duration_s, n_bands = len(tape.sound) / tape.rate_hz, len(frequency_hz)
    top_db = max(float(level_db.max()), -60.0)
    colours = LinearSegmentedColormap.from_list("ink", SOUND_COLOURS)
    axes.imshow(
        level_db, origin="lower", aspect="auto", extent=(0.0, duration_s, -0.5, n_bands - 0.5),
        cmap=colours, vmin=top_db - RANGE_DB, vmax=top_db, interpolation="bilinear",
    )  # fmt: skip
    marks_hz = [hz for hz in (50, 100, 200, 500, 1000, 2000, 5000, 10000) if hz <= frequency_hz[-1]]
    places = [np.log2(hz / LOWEST_HZ) * BANDS_PER_OCTAVE for hz in marks_hz]
    axes.set_yticks(places, [f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz" for hz in marks_hz])
    _name(axes, "sound, as heard", SOUND_INK)
    axes.set_xlabel("seconds")


def _draw_latency(axes: Axes, name: str, latency: LatencyHistogram, colour: str) -> None:
    from_ms, counts = latency.bins()
    figures = latency.figures()
    typical = f"p50 {figures['p50']:.1f}   p99 {figures['p99']:.1f}"
    axes.set_title(f"{name}, ms\n{typical}", loc="left", color=colour, fontsize=10)
    if len(counts):
        n_per_bar = max(1, round(figures["p99"] / BIN_MS / 40))
        bars = np.add.reduceat(counts, np.arange(0, len(counts), n_per_bar))
        axes.bar(from_ms[::n_per_bar], bars, width=n_per_bar * BIN_MS, align="edge", color=colour)
    axes.set_xlim(0.0, max(1.5 * figures["p99"], 1.0))
    axes.set_xlabel(f"longest {figures['max']:.1f} ms", color=FAINT)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
