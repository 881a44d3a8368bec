"""What seems wrong with takes, looked for before anything is learned from them; they are left out only when told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from device.core.take_quality import (
    LARGEST_BAD_SHARE,
    LARGEST_CLIPPED_SHARE,
    LARGEST_COVERED_SHARE,
    SILENT_DBFS,
    STILL_QUANTITY,
)
from device.store.store import Take
from trainer.checking.take_shift import Envelopes, Float64, Shift, envelopes_of, find_shift

POWER_HZ = 50
BLOCK_S = 60
FULL_SCALE = 32766.5 / 32768
BURST_SHARE = 0.9
BURST_GREY = 2.0
"""A hand before the lens, or a light switch, changes nine tenths of all rows and columns at once by more than this; no
dancer does."""
SHORTEST_COVERED_S = 3.0


@dataclass(frozen=True)
class Figures:
    """Shares of a take, 0 to 1.

    Attributes
    ----------
    silent_share, still_share : float
        Seconds without sound, and without motion.
    clipped_share : float
        Samples at full scale, those beside each other only.
    covered_share : float
        Seconds without motion after all of the picture changed at once; or as it was recorded.
    sound_late_s : float or None
        See `Shift`.
    """

    silent_share: float
    still_share: float
    clipped_share: float
    covered_share: float
    sound_late_s: float | None


@dataclass(frozen=True, eq=False)
class TakeCheck:
    """What was found in a take.

    Attributes
    ----------
    number : int
    name : str
    figures : Figures
    marks : list of str
        What seems wrong, in words; none if nothing does.
    envelopes : Envelopes
    shift : Shift
    """

    number: int
    name: str
    figures: Figures
    marks: list[str]
    envelopes: Envelopes
    shift: Shift

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {"number": self.number, "name": self.name, **asdict(self.figures), "marks": self.marks}


def check_take(take: Take) -> TakeCheck:
    """Look and listen through a take; memory is that of its quantity of motion and its loudness."""
    power, n_clipped = _hear(take)
    quantity, is_burst = _look(take)
    take.give_back()
    envelopes = envelopes_of(take, quantity, power, POWER_HZ)
    shift = find_shift(envelopes)
    seconds = _by_second(take.times_s - take.times_s[0], quantity)
    is_still = seconds < STILL_QUANTITY
    whole_s = len(power) // POWER_HZ * POWER_HZ
    loud = power[:whole_s].reshape(-1, POWER_HZ).mean(axis=1) if whole_s else power
    recorded = take.facts.notes.get("covered_share")
    covered = _covered_share(take.times_s - take.times_s[0], is_burst, is_still)
    figures = Figures(
        silent_share=round(float((loud < 10.0 ** (SILENT_DBFS / 10.0)).mean()), 3),
        still_share=round(float(is_still.mean()), 3),
        clipped_share=round(n_clipped / max(take.n_samples, 1), 6),
        covered_share=round(max(covered, recorded if isinstance(recorded, float) else 0.0), 3),
        sound_late_s=shift.sound_late_s,
    )
    name = str(take.facts.source.get("name", take.path.name))
    return TakeCheck(take.number, name, figures, marks_of(figures), envelopes, shift)


def marks_of(figures: Figures) -> list[str]:
    """Say what seems wrong, and what may be done about it."""
    marks = []
    if figures.silent_share > LARGEST_BAD_SHARE:
        marks.append(f"silent {figures.silent_share:.0%} of its time")
    if figures.clipped_share > LARGEST_CLIPPED_SHARE:
        marks.append(f"clipped, {figures.clipped_share:.2%} of its samples")
    if figures.covered_share > LARGEST_COVERED_SHARE:
        marks.append(f"the camera covered or the light off {figures.covered_share:.0%} of its time")
    elif figures.still_share > LARGEST_BAD_SHARE:
        marks.append(f"nobody moving {figures.still_share:.0%} of its time")
    late_s = figures.sound_late_s
    if late_s is not None and Shift(late_s, np.zeros(0), np.zeros(0)).is_bad:
        marks.append(f"its sound {abs(late_s):.2f} s {'after' if late_s > 0 else 'before'} its motion")
    return marks


def warn(checks: Sequence[TakeCheck]) -> None:
    """Name on standard error the takes that seem bad, a line each, and what can be done; nothing where none is."""
    bad = [check for check in checks if check.marks]
    for check in bad:
        print(f"trainer: take {check.number:04d} ({check.name}): {', '.join(check.marks)}", file=sys.stderr)
    if bad:
        numbers = ",".join(str(check.number) for check in bad)
        print(f"trainer: learned from all the same, unless you add --leave-out {numbers}", file=sys.stderr)


def _hear(take: Take) -> tuple[Float64, int]:
    """Mean power 50 times a second, and how many samples are clipped."""
    n_step = take.rate_hz // POWER_HZ
    powers, n_clipped = [], 0
    for start in range(0, take.n_samples, BLOCK_S * take.rate_hz):
        sound = take.sound_at(start, min(start + BLOCK_S * take.rate_hz, take.n_samples))
        is_full = np.abs(sound) >= FULL_SCALE
        # One sample at full scale is a peak that was made to fit; clipping cuts peaks off flat.
        n_clipped += int((is_full[1:] & is_full[:-1]).sum())
        whole = sound[: len(sound) // n_step * n_step].reshape(-1, n_step)
        powers.append(np.square(whole, dtype=np.float64).mean(axis=1))
    return np.concatenate(powers), n_clipped


def _look(take: Take) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """Quantity of motion of each column, and whether nearly all of the picture changed there."""
    height = take.settings.height
    quantities, bursts = [], []
    for start in range(0, take.n_columns, 10_000):
        columns = take.columns_at(start, start + 10_000)
        quantities.append(columns[:, :height].mean(axis=1, dtype=np.float64))
        bursts.append((columns > BURST_GREY).mean(axis=1) > BURST_SHARE)
    return np.concatenate(quantities), np.concatenate(bursts)


def _by_second(times_s: Float64, quantity: Float64) -> Float64:
    """Mean over each second; one in which there is no column counts as still."""
    second = times_s.astype(np.int64)
    n = np.bincount(second)
    return np.asarray(np.bincount(second, weights=quantity) / np.maximum(n, 1))


def _covered_share(times_s: Float64, is_burst: npt.NDArray[np.bool_], is_still: npt.NDArray[np.bool_]) -> float:
    """Share of the seconds that are still, from one in which the picture changed until the next motion."""
    n_covered = 0
    for second in np.unique(times_s[is_burst].astype(np.int64)):
        moving = np.flatnonzero(~is_still[second + 1 :])
        n = int(moving[0]) if len(moving) else len(is_still) - int(second) - 1
        n_covered += n if n >= SHORTEST_COVERED_S else 0
    return n_covered / max(len(is_still), 1)
