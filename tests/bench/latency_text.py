"""Latency in words and tables, for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench.latency_analysis import Float64, percentiles_ms
from tests.bench.latency_rows import Row
from tests.bench.results import grid

HEADER = ("change", "playing", "fps", "heard", "p50, ms", "p99, ms", "less the frame's age", "limit p50", "limit p99")

READING = """\
- *heard*: of so many changes; *lost*: half of the way was not passed before the next change; *alike*: old and new sound
  could not be told apart; *underruns*: of the card in this trial, both ways;
- *less the frame's age*: p50 and p99 from the first frame that shows the change;
- *limit*: the age of a frame, at its median and its 99th percentile, and what is always queued in the card; where all
  falls still, also how long motion is still seen in the difference of two pictures; in segments, also their length.
  Where a range is given, old and new motion are both seen for so long, and half of the way lies anywhere within it."""

SAID = {
    "columns": "the columns show it",
    "model": "the model says it",
    "heard": "it is heard, without a card",
    "switched": "heard, if the model's spectra switched with the frame",
}

HOW = """\
- **latency**: the engine as it plays live, its three processes, between a simulated camera and a simulated card, all on
  CLOCK_MONOTONIC. The scene changes at a random moment, not with a frame: the camera, in real time, shows it as it is
  when a frame is taken, so the frame's age counts. Motion is texture drawn anew for each frame in a part of the
  picture (*full*: a quantity of motion of 7 grey levels), stillness is texture that stays. The room is learned as
  always, but not the dancer's size. The card uses up samples as time goes by, takes a period when there is room for
  one, and runs empty where blocks come too late: sample n is heard n / rate after the first.
  What a real camera and a real card add by themselves is not in it: `device check` shows
  that.
- **half of the way**: the sound has a mean before the change and a mean before the next one, over 0.1 s each; half is
  passed when it is first as near to the new as to the old, along the line between them. From stillness to motion and
  back it is the level that is compared, the mean magnitude over 5.3 ms around each moment; otherwise the spectrum,
  magnitudes to the power 0.3 over 10.7 ms around each moment, a Hann window. A sound that switches at once is found
  within a millisecond of where it does.
- **share of jitter**: from a frame's arrival to its first sample handed over, p99 less p50, as the engine counts it.
- Only the rows with limits of their own were measured alone; the others several engines at a time.
- **direct** is a bundle that has learned nothing: what moves is heard at once by a fixed rule. What it takes is the
  system's; what the default bundle takes beyond it was learned from its instrument.
- **segment** is the original's way: a segment is gathered, then played while the next is gathered.
- **PulseAudio**: its null sink through ALSA. The sound is that of the sink's monitor, recorded; the sink goes by
  CLOCK_MONOTONIC, and the earliest piece of the recording says when its first sample was heard: late by what the
  quickest way through the recorder takes, a millisecond or two.
"""


def rows_as_text(rows: Sequence[Row]) -> str:
    """Give a table with a line for each row, and how to read it."""
    return f"{grid(HEADER, [_cells(row) for row in rows])}\n\n{READING}"


def _cells(row: Row) -> tuple[str, ...]:
    changes = row.changes
    late, own = percentiles_ms(changes.latencies_s), percentiles_ms(changes.after_frame_s)
    counts = {"lost": changes.n_lost, "alike": changes.n_alike, "underruns": row.n_xruns}
    lost = [f"{n} {what}" for what, n in counts.items() if n]
    is_heard = len(changes.latencies_s) > 0
    return (
        f"{row.before} to {row.after}",
        row.setting,
        f"{row.fps:g}",
        ", ".join([f"{len(changes.latencies_s)} of {changes.n}", *lost]),
        f"{late['p50']:.1f}" if is_heard else "",
        f"{late['p99']:.1f}" if is_heard else "",
        f"{own['p50']:.1f}, {own['p99']:.1f}" if is_heard else "",
        *(_limit(limit_s, row.mixed_s) for limit_s in row.limits_s),
    )


def _limit(limit_s: float, mixed_s: float) -> str:
    until = f" to {1000.0 * (limit_s + mixed_s):.1f}" if mixed_s else ""
    return f"{1000.0 * limit_s:.1f}{until}"


def why_as_text(bundle: str, fps: float, scenes: tuple[str, str], stages: Mapping[str, Sequence[Float64]]) -> str:
    """Give a table of what passes half of the way when."""
    rows = [(what, *(_median(stages[name][direction]) for direction in (0, 1))) for name, what in SAID.items()]
    header = ("half of the way is passed, ms after the first frame", "to ".join(("", scenes[1])), f"to {scenes[0]}")
    return (
        f"Where the time goes when {scenes[0]} motion gives way to {scenes[1]} and back: bundle {bundle}, {fps:g} fps, "
        f"virtual clock, medians.\n\n{grid(header, rows)}"
    )


def _median(seconds: Float64) -> str:
    return f"{percentiles_ms(seconds)['p50']:.1f}" if len(seconds) else "alike"
