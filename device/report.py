"""The report of a performance: a picture to look at and the figures to keep."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.core.latency import BIN_MS, LatencyHistogram
from device.files import replace_synced
from device.performance import Performance, Tape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float32 = npt.NDArray[np.float32]

WIDTH_PX, HEIGHT_PX, DPI = 1600, 900, 100
INK, FAINT, MOTION_INK, SOUND_INK = "#22262b", "#8a9099", "#2a6f97", "#b23a48"
LOWEST_HZ, HIGHEST_HZ, BANDS_PER_OCTAVE = 40.0, 16000.0, 24
RANGE_DB = 70.0
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
            4, 2, width_ratios=[6, 1], height_ratios=[3, 1.2, 4.2, 0.0], left=0.06, right=0.98, top=0.89, bottom=0.04,
            hspace=0.12, wspace=0.09,
        )  # fmt: skip
        motion = figure.add_subplot(grid[0, 0])
        curves = figure.add_subplot(grid[1, 0], sharex=motion)
        sound = figure.add_subplot(grid[2, 0], sharex=motion)
        _draw_motiongram(motion, tape, n_rows)
        _draw_curves(curves, tape, n_rows)
        _draw_spectrogram(sound, tape)
        motion.set_xlim(0.0, max(len(tape.sound) / tape.rate_hz, 1e-3))
        beside = grid[:3, 1].subgridspec(2, 1, hspace=0.45)
        _draw_latency(figure.add_subplot(beside[0]), "frame to sound", performance.frame_to_sound, SOUND_INK)
        _draw_latency(figure.add_subplot(beside[1]), "engine alone", performance.engine, MOTION_INK)
        png = io.BytesIO()
        canvas.print_figure(png, format="png")
        return png.getvalue()


def spectrogram_db(sound: Float32, rate_hz: int, n_columns: int) -> tuple[Float32, npt.NDArray[np.float64]]:
    """Look at sound on a logarithmic scale of frequencies.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,), float32
    rate_hz : int
    n_columns : int
        Moments to look at, spread evenly.

    Returns
    -------
    level_db : np.ndarray, shape (n_bands, n_columns), float32
        0 is the level of a sine of full scale.
    frequency_hz : np.ndarray, shape (n_bands,), float64
    """
    n_fft = 4096
    highest_hz = min(HIGHEST_HZ, rate_hz / 2.0)
    n_bands = int(np.log2(highest_hz / LOWEST_HZ) * BANDS_PER_OCTAVE) + 1
    frequency_hz = LOWEST_HZ * 2.0 ** (np.arange(n_bands) / BANDS_PER_OCTAVE)
    window = np.hanning(n_fft) / (n_fft / 4.0)
    padded = np.pad(sound, n_fft // 2)
    bins = frequency_hz / rate_hz * n_fft
    level_db = np.empty((n_bands, n_columns), np.float32)
    for column, start in enumerate(np.linspace(0, len(sound), n_columns, endpoint=False).astype(int)):
        magnitude = np.abs(np.fft.rfft(padded[start : start + n_fft] * window))
        level_db[:, column] = 20.0 * np.log10(_in_bands(magnitude, bins) + 1e-9)
    return level_db, frequency_hz


def _in_bands(magnitude: npt.NDArray[np.float64], bins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Between two bins where bands are narrow, the largest bin where they are wide."""
    half_band = 2.0 ** (0.5 / BANDS_PER_OCTAVE)
    low = np.minimum((bins / half_band).round().astype(int), len(magnitude) - 1)
    largest = np.maximum.reduceat(magnitude, low)
    between: npt.NDArray[np.float64] = np.interp(bins, np.arange(len(magnitude)), magnitude)
    return np.where(bins * (half_band - 1.0 / half_band) > 1.0, largest, between)


def _title(figure: Figure, summary: dict[str, object]) -> None:
    figure.text(0.06, 0.955, str(summary["model"]), fontsize=17, fontweight="bold", va="center")
    how = (
        f"{summary['variant']} on {summary['runtime']}  ·  {summary['mode']} mode"
        f"  ·  temperature {summary['temperature']:g}  ·  {summary['clock']} clock  ·  {summary['n_frames']} frames, {summary['duration_s']:.1f} s"
        f"  ·  {100 * _number(summary['rtf']):.1f}% of one core  ·  {summary['n_xruns']} underruns"
    )
    figure.text(0.06, 0.92, how, fontsize=10.5, color=FAINT, va="center")


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
    axes.set_ylabel("height in the picture")
    axes.set_yticks([0, n_rows], ["top", "bottom"])
    axes.set_title("motion", loc="left", color=MOTION_INK)
    axes.tick_params(labelbottom=False)


def _edges(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each frame lasts until the next one, the last as long as the one before; shape (n + 1,)."""
    last_s = times_s[-1] - times_s[-2] if len(times_s) > 1 else 0.04
    return np.append(times_s, times_s[-1] + last_s)


def _draw_curves(axes: Axes, tape: Tape, n_rows: int) -> None:
    axes.plot(tape.times_s, tape.columns[:, :n_rows].mean(axis=1), color=MOTION_INK, linewidth=0.9)
    axes.set_ylabel("quantity\nof motion", color=MOTION_INK)
    axes.set_ylim(bottom=0.0)
    axes.tick_params(labelbottom=False)
    axes.spines[["top"]].set_visible(False)
    loudness = axes.twinx()
    times_s, level_db = _levels(tape)
    loudness.plot(times_s, level_db, color=SOUND_INK, linewidth=0.9)
    loudness.set_ylim(-RANGE_DB, 0.0)
    loudness.set_ylabel("dBFS", color=SOUND_INK, labelpad=1)
    loudness.spines[["top"]].set_visible(False)


def _levels(tape: Tape) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    n = round(LEVEL_S * tape.rate_hz)
    n_levels = len(tape.sound) // n
    power = np.square(tape.sound[: n_levels * n].reshape(n_levels, n), dtype=np.float64).mean(axis=1)
    return (np.arange(n_levels) + 0.5) * LEVEL_S, 10.0 * np.log10(power + 1e-12)


def _draw_spectrogram(axes: Axes, tape: Tape) -> None:
    level_db, frequency_hz = spectrogram_db(tape.sound, tape.rate_hz, N_PICTURE_COLUMNS)
    duration_s, n_bands = len(tape.sound) / tape.rate_hz, len(frequency_hz)
    top_db = max(float(level_db.max()), -60.0)
    axes.imshow(
        level_db, origin="lower", aspect="auto", extent=(0.0, duration_s, -0.5, n_bands - 0.5),
        cmap="magma_r", vmin=top_db - RANGE_DB, vmax=top_db, interpolation="bilinear",
    )  # fmt: skip
    marks_hz = [hz for hz in (50, 100, 200, 500, 1000, 2000, 5000, 10000) if hz <= frequency_hz[-1]]
    places = [np.log2(hz / LOWEST_HZ) * BANDS_PER_OCTAVE for hz in marks_hz]
    axes.set_yticks(places, [f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz" for hz in marks_hz])
    axes.set_title("sound, as heard", loc="left", color=SOUND_INK)
    axes.set_xlabel("seconds")


def _draw_latency(axes: Axes, name: str, latency: LatencyHistogram, colour: str) -> None:
    from_ms, counts = latency.bins()
    figures = latency.figures()
    axes.set_title(f"{name}, ms\np50 {figures['p50']:.1f}   p99 {figures['p99']:.1f}", loc="left", color=colour)
    if len(counts):
        n_per_bar = max(1, len(counts) // 50)
        bars = np.add.reduceat(counts, np.arange(0, len(counts), n_per_bar))
        axes.bar(from_ms[::n_per_bar], bars, width=n_per_bar * BIN_MS, align="edge", color=colour)
    axes.set_xlim(left=0.0)
    axes.set_ylabel("frames", labelpad=2)
    axes.spines[["top", "right"]].set_visible(False)
