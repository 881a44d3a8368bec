"""Whether a model that has just begun to play plays as well as the one before it.

What is judged is what the devices that are there can show: frames while a camera is live, blocks while a card is. Who
has no camera now does not find out less than that nothing else is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from device.core.level import to_dbfs

LEAST_S = 2.0
"""What was seen for a shorter time is not judged."""
LEAST_FRAME_SHARE = 0.7
"""Of the frames a second that the model before played."""
LEAST_PLAYED_SHARE = 0.8
"""Of the share of frames that it played at once, rather than leave out for newer ones."""
LEAST_BLOCK_SHARE = 0.9
MOST_MORE_XRUNS = 10
"""A machine that is busy for a moment fails no model; one that is too much for it stumbles again and again."""
LATER_FACTOR, LATER_MS = 2.0, 5.0
"""The latency may be so many times as long, or so much longer."""
LATEST_MS = 100.0
"""Where nothing played before."""
SAME_MOTION = 4.0
"""Levels are compared when the dances were within this factor of each other, which they may then differ by, too."""
LEAST_MOTION = 0.02
"""Mean of a column, grey levels: below it nobody dances."""
QUIETEST_DBFS = -60.0
"""A model that was quieter was not heard, and says nothing of what the next should be."""
MOST_DB_APART = 20.0


@dataclass(frozen=True)
class Reading:
    """What a performance has counted up to a moment.

    Attributes
    ----------
    time_s : float
    n_frames, n_skipped_frames, n_bad_spectra : int
        Frames that the model saw; of these, those that it left out; spectra that were none.
    n_blocks, n_xruns : int
    latency_ms : float or None
        Median, since the reading before, of the time from a frame's arrival to its sound; None: no frame came.
    peak : float
        Amplitude of the output of late, 1 is full scale.
    motion : float
        Sum, over all frames, of the mean of their columns, grey levels.
    has_camera, has_card : bool
        Whether they are live.
    n_restarts : int
        How often the model's or the sound's process had to be started again.
    """

    time_s: float
    n_frames: int
    n_skipped_frames: int
    n_bad_spectra: int
    n_blocks: int
    n_xruns: int
    latency_ms: float | None
    peak: float
    motion: float
    has_camera: bool
    has_card: bool
    n_restarts: int


@dataclass(frozen=True)
class Span:
    """A time of playing, summed up over the parts of it in which camera or card were there.

    Attributes
    ----------
    camera_s, card_s : float
        For how long each was live.
    n_frames, n_played, n_bad_spectra, n_blocks, n_xruns, n_restarts : int
    latency_ms : float or None
    level : float or None
        Mean amplitude while both were there; None: they never were.
    motion : float
        Mean of a column, grey levels.
    """

    camera_s: float
    card_s: float
    n_frames: int
    n_played: int
    n_bad_spectra: int
    n_blocks: int
    n_xruns: int
    n_restarts: int
    latency_ms: float | None
    level: float | None
    motion: float

    @property
    def frames_per_s(self) -> float:
        """Frames that the model saw, a second."""
        return self.n_frames / self.camera_s if self.camera_s else 0.0

    @property
    def played_share(self) -> float:
        """Of these, those that were played at once."""
        return self.n_played / self.n_frames if self.n_frames else 0.0

    @property
    def blocks_per_s(self) -> float:
        """Blocks handed to the card, a second."""
        return self.n_blocks / self.card_s if self.card_s else 0.0


def sum_up(readings: Sequence[Reading]) -> Span:
    """Sum up readings, oldest first."""
    steps = list(pairwise(readings))
    seen = [(a, b) for a, b in steps if a.has_camera and b.has_camera]
    heard = [(a, b) for a, b in steps if a.has_card and b.has_card]
    both = [b for a, b in seen if a.has_card and b.has_card]
    n_frames = sum(b.n_frames - a.n_frames for a, b in seen)
    latencies_ms = [b.latency_ms for _, b in seen if b.latency_ms is not None]
    return Span(
        camera_s=sum(b.time_s - a.time_s for a, b in seen),
        card_s=sum(b.time_s - a.time_s for a, b in heard),
        n_frames=n_frames,
        n_played=n_frames - sum(b.n_skipped_frames - a.n_skipped_frames for a, b in seen),
        # A model's process that is new counts anew.
        n_bad_spectra=sum(max(0, b.n_bad_spectra - a.n_bad_spectra) for a, b in steps),
        n_blocks=sum(b.n_blocks - a.n_blocks for a, b in heard),
        n_xruns=sum(b.n_xruns - a.n_xruns for a, b in heard),
        n_restarts=sum(max(0, b.n_restarts - a.n_restarts) for a, b in steps),
        latency_ms=median(latencies_ms) if latencies_ms else None,
        level=fmean(each.peak for each in both) if both else None,
        motion=sum(b.motion - a.motion for a, b in seen) / n_frames if n_frames else 0.0,
    )


def find_problems(before: Span | None, now: Span) -> list[str]:
    """Say in what a model is worse than the one before it; nothing if it is not.

    Parameters
    ----------
    before : Span or None
        None: nothing played before, or too little of it was seen.
    now : Span
    """
    found = [_of_frames(before, now), _of_blocks(before, now), _of_latency(before, now), _of_level(before, now)]
    if now.n_bad_spectra and (before is None or _bad_share(now) > _bad_share(before)):
        found.append(f"it gave {now.n_bad_spectra} times what is not a spectrum")
    if now.n_restarts:
        found.append(f"its processes had to be started again, {now.n_restarts} times")
    return [each for each in found if each]


def _of_frames(before: Span | None, now: Span) -> str:
    if now.camera_s < LEAST_S:
        return ""
    is_known = before is not None and before.camera_s >= LEAST_S
    rate, share = (before.frames_per_s, before.played_share) if before is not None and is_known else (1.0, 1.0)
    if now.frames_per_s < LEAST_FRAME_SHARE * rate:
        return f"it sees {now.frames_per_s:.1f} frames a second, not {rate:.1f}"
    if now.played_share < LEAST_PLAYED_SHARE * share:
        return f"it is too slow for {100 * (1 - now.played_share):.0f}% of the frames"
    return ""


def _of_blocks(before: Span | None, now: Span) -> str:
    if now.card_s < LEAST_S:
        return ""
    is_known = before is not None and before.card_s >= LEAST_S
    rate = before.blocks_per_s if before is not None and is_known else 1.0
    if now.blocks_per_s < LEAST_BLOCK_SHARE * rate:
        return f"the sound gives {now.blocks_per_s:.0f} blocks a second, not {rate:.0f}"
    usual = 2.0 * before.n_xruns * now.card_s / before.card_s if before is not None and is_known else 0.0
    if now.n_xruns > MOST_MORE_XRUNS + usual:
        return f"the sound stumbled {now.n_xruns} times in {now.card_s:.0f} s"
    return ""


def _of_latency(before: Span | None, now: Span) -> str:
    if now.latency_ms is None:
        return ""
    known_ms = before.latency_ms if before is not None else None
    most_ms = LATEST_MS if known_ms is None else max(LATER_FACTOR * known_ms, known_ms + LATER_MS)
    return f"it takes {now.latency_ms:.1f} ms from a frame to its sound, not {most_ms:.1f}" * (now.latency_ms > most_ms)


def _of_level(before: Span | None, now: Span) -> str:
    """Compare levels, if they say something: somebody danced as much as before, and was heard then."""
    if before is None or before.level is None or now.level is None or to_dbfs(before.level) < QUIETEST_DBFS:
        return ""
    if min(before.motion, now.motion) < LEAST_MOTION:
        return ""
    ratio = max(before.motion, now.motion) / min(before.motion, now.motion)
    apart_db = to_dbfs(now.level) - to_dbfs(before.level)
    if ratio > SAME_MOTION or abs(apart_db) <= MOST_DB_APART + to_dbfs(ratio):
        return ""
    return f"it is {abs(apart_db):.0f} dB {'louder' if apart_db > 0 else 'quieter'} than the model before it"


def _bad_share(span: Span) -> float:
    return span.n_bad_spectra / max(1, span.n_frames)
