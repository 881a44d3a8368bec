"""Segments of takes: which windows a model learns from, and which are kept back to judge it by."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.errors import TakeError, UsageError
from device.store.store import Take, incomplete_takes, list_takes, take_folders, why_incomplete
from trainer.data.open_files import allow_takes
from trainer.settings import HELD_OUT, HOP_S, LONGEST_SEGMENT_S, SHORTEST_SEGMENT_S

# No camera is faster, and an hour at this hop is listed in some 30 MB.
SHORTEST_HOP_S = 0.001
# Half a spectral frame of 2048 samples reaches 21 ms beyond the newest column; a lead of the sound reaches further.
SOUND_MARGIN_S = 0.05
# The motiongram starts anew after a pause this long: no window lies across one.
LONGEST_PAUSE_S = 1.0

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Segments:
    """Windows of motion, each with the sound of the same time.

    Attributes
    ----------
    take_index : np.ndarray, shape (n,), int32
        Which of the takes.
    column_index : np.ndarray, shape (n,), int32
        The newest column of each window in its take.
    """

    take_index: Indices
    column_index: Indices

    def __len__(self) -> int:
        return len(self.take_index)

    def of_take(self, index: int) -> Indices:
        """Column indices of the segments in one take, shape (n,), int32."""
        columns: Indices = self.column_index[self.take_index == index]
        return columns


def split(
    takes: Sequence[Take],
    segment_s: float,
    hop_s: float,
    held_out: float = HELD_OUT,
    held_out_takes: Collection[int] = (),
) -> tuple[Segments, Segments]:
    """List the segments of takes, divided by time into training and held-out ones.

    The last part of each take is held out, or some takes are as a whole. Between the two parts of a take lies a gap
    of one segment and 50 ms, taken from the training part, so that no column and no sample of sound is in both. Equal
    takes give equal lists.

    Parameters
    ----------
    takes : sequence of Take
    segment_s : float
        Length of a segment, 0.05 to 2 s.
    hop_s : float
        Time from one segment to the next, 0.001 to 20 s; no column ends two segments.
    held_out : float
        Part of each take's time, from 0 to below 1.
    held_out_takes : collection of int
        Numbers of takes to hold out whole; if any are given, `held_out` does not matter.

    Returns
    -------
    training, held_out : Segments

    Raises
    ------
    UsageError
        A length is out of range, or a number is not that of a take.
    TakeError
        The takes do not fit together.
    """
    _check(takes, segment_s, hop_s, held_out, held_out_takes)
    training, kept = [], []
    for take in takes:
        newest = _newest_columns(take, segment_s, hop_s)
        if held_out_takes or not held_out:
            is_held = np.full(len(newest), take.number in held_out_takes)
            is_training = ~is_held
        else:
            ends_s = take.times_s[newest]
            cut_s = take.times_s[-1] - held_out * take.duration_s
            is_held = ends_s - segment_s >= cut_s
            is_training = ends_s <= cut_s - segment_s - SOUND_MARGIN_S
        training.append(newest[is_training])
        kept.append(newest[is_held])
    return _gather(training), _gather(kept)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `trainer prepare`."""
    argument = parser.add_argument
    argument("--takes", type=Path, required=True, metavar="DIR", help="folder of takes")
    argument("--segment-s", type=float, default=0.5, metavar="S", help="length of a segment (%(default)s s)")
    argument("--hop-s", type=float, default=HOP_S, metavar="S", help="from one to the next (%(default)s s)")
    argument("--held-out", type=float, default=HELD_OUT, metavar="PART", help="part of each take (%(default)s)")
    argument("--held-out-takes", type=int, nargs="+", default=[], metavar="N", help="hold out whole takes")
    argument("--json", action="store_true", help="print one object instead of lines")


def main(args: argparse.Namespace) -> int:
    """Print what each take has to learn from."""
    takes = load_takes(args.takes)
    training, held_out = split(takes, args.segment_s, args.hop_s, args.held_out, args.held_out_takes)
    lines = [
        {**describe(take), "n_training": len(training.of_take(index)), "n_held_out": len(held_out.of_take(index))}
        for index, take in enumerate(takes)
    ]
    if args.json:
        totals = {"n_training": len(training), "n_held_out": len(held_out)}
        print(json.dumps({"segment_s": args.segment_s, "hop_s": args.hop_s, **totals, "takes": lines}))
    else:
        for line in lines:
            print(_LINE.format(**line))
        print(f"{len(training)} segments of {args.segment_s:g} s to learn from, {len(held_out)} held out")
    if len(training) == 0:
        raise TakeError(f"{args.takes} has no segment to learn from: record longer takes or shorten --segment-s")
    return 0


def load_takes(takes_dir: Path) -> list[Take]:
    """Open all whole takes of a folder but the cancelled ones; those left out are named on standard error.

    Raises
    ------
    TakeError
        There are none, one is damaged, or they do not fit together.
    """
    incomplete = incomplete_takes(takes_dir)
    allow_takes(len(take_folders(takes_dir)))
    whole = list_takes(takes_dir)
    takes = [take for take in whole if not take.facts.cancelled]
    if not whole:
        raise TakeError(_why_none(takes_dir, incomplete))
    if not takes:
        raise TakeError(f"all takes of {takes_dir} were cancelled when they were recorded: record others")
    for path in incomplete:
        print(f"trainer: left out: {path} {why_incomplete(path)}", file=sys.stderr)
    for take in whole:
        if take.facts.cancelled:
            print(f"trainer: left out: {take.path} was cancelled when it was recorded", file=sys.stderr)
    _check_alike(takes)
    return takes


def describe(take: Take) -> dict[str, object]:
    """Say what is in a take, for people.

    Returns
    -------
    dict
        number, name, duration_s, fps, quantity (mean grey levels of motion), level_dbfs (RMS; -120 is silence) and
        salvaged.
    """
    quantity = _quantity(take)
    return {
        "number": take.number,
        "name": str(take.facts.source.get("name", take.path.name)),
        "duration_s": round(take.duration_s, 3),
        "fps": round((take.n_columns - 1) / take.duration_s, 2) if take.duration_s else 0.0,
        "quantity": round(quantity, 3),
        "level_dbfs": round(_level_dbfs(take), 1),
        "salvaged": take.facts.salvaged,
    }


_LINE = (
    "{number:04d}  {name}  {duration_s:.1f} s  {fps:.1f} fps  motion {quantity:.2f}  sound {level_dbfs:.1f} dBFS"
    "  {n_training} training  {n_held_out} held out"
)


def _why_none(takes_dir: Path, incomplete: Sequence[Path]) -> str:
    if not incomplete:
        return f"{takes_dir} has no takes: make some with python -m trainer import VIDEO --takes {takes_dir}"
    if len(incomplete) == 1:
        return f"{takes_dir} has no whole take, {incomplete[0]} {why_incomplete(incomplete[0])}"
    return (
        f"{takes_dir} has no whole take, {len(incomplete)} were cut short or are being recorded: what to do with each "
        f"says python -m device takes list --takes {takes_dir}"
    )


def _check(
    takes: Sequence[Take], segment_s: float, hop_s: float, held_out: float, held_out_takes: Collection[int]
) -> None:
    if not SHORTEST_SEGMENT_S <= segment_s <= LONGEST_SEGMENT_S:
        raise UsageError(f"a segment of {segment_s:g} s cannot be used: choose {SHORTEST_SEGMENT_S} to 2 s")
    if not SHORTEST_HOP_S <= hop_s <= LONGEST_SEGMENT_S * 10:
        raise UsageError(f"a hop of {hop_s:g} s cannot be used: choose {SHORTEST_HOP_S} to 20 s")
    if not 0.0 <= held_out < 1.0:
        raise UsageError(f"a held-out part of {held_out:g} cannot be used: choose 0 to below 1")
    unknown = sorted(set(held_out_takes) - {take.number for take in takes})
    if unknown:
        raise UsageError(f"there is no take {unknown[0]:04d} to hold out: choose of those that prepare lists")
    _check_alike(takes)


def _check_alike(takes: Sequence[Take]) -> None:
    for take in takes[1:]:
        if take.settings != takes[0].settings or take.rate_hz != takes[0].rate_hz:
            raise TakeError(
                f"{takes[0].path} and {take.path} differ in motion settings or sample rate: import one of them again"
            )


def _newest_columns(take: Take, segment_s: float, hop_s: float) -> Indices:
    """Columns, about `hop_s` apart, at which a whole segment of motion and sound ends."""
    times_s = take.times_s
    first_s = times_s[0] + segment_s
    n_hops = max(int((times_s[-1] - first_s) / hop_s + 1e-6) + 1, 0)
    # A column that floating point puts just before its place on the grid still counts.
    newest = np.unique(np.searchsorted(times_s, first_s + hop_s * np.arange(n_hops) - 1e-6))
    newest = newest[newest < len(times_s)]
    starts_s = times_s[newest] - segment_s
    heard = (take.samples_of(starts_s) >= 0.0) & (take.samples_of(times_s[newest]) <= take.n_samples)
    n_pauses = np.concatenate([[0], np.cumsum(np.diff(times_s) > LONGEST_PAUSE_S)])
    oldest = np.maximum(np.searchsorted(times_s, starts_s + 1e-6, side="right") - 1, 0)
    return np.asarray(newest[heard & (n_pauses[newest] == n_pauses[oldest])], np.int32)


def _gather(newest: Sequence[Indices]) -> Segments:
    take_index = np.repeat(np.arange(len(newest), dtype=np.int32), [len(columns) for columns in newest])
    return Segments(take_index, np.concatenate([np.zeros(0, np.int32), *newest]))


def _quantity(take: Take) -> float:
    """Mean quantity of motion, a piece at a time: an hour of columns is 80 MB."""
    total, block = 0.0, 1 << 12
    for start in range(0, take.n_columns, block):
        rows = take.columns_at(start, start + block)[:, : take.settings.height]
        total += float(rows.sum(dtype=np.float64))
    take.give_back()
    return total / (take.n_columns * take.settings.height)


def _level_dbfs(take: Take) -> float:
    power, block = 0.0, 1 << 20
    for start in range(0, take.n_samples, block):
        samples = take.sound_at(start, min(start + block, take.n_samples))
        power += float(np.dot(samples, samples))
    take.give_back()
    return 10.0 * float(np.log10(max(power / take.n_samples, 1e-12)))
