"""What is kept of a performance: counts and latencies always, columns and sound where a report is wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.core.latency import LatencyHistogram

Float32 = npt.NDArray[np.float32]

TAPE_S = 600.0
MAX_FRAMES_PER_S = 125


@dataclass(frozen=True)
class Performance:
    """What was counted.

    Attributes
    ----------
    n_frames : int
        Frames that were played.
    n_dropped_frames : int
        Frames whose time could not be used.
    n_bad_spectra : int
        Spectra that the last good one stood in for.
    n_blocks, n_samples : int
        What was handed over.
    n_xruns : int
        Underruns.
    duration_s : float
        Of the sound.
    rtf : float
        Real-time factor: processor time of motiongram, model and synth over the time of the sound.
    engine : LatencyHistogram
        From a frame's arrival to its first sample handed over; in segment mode, for the last frame of each segment.
    frame_to_sound : LatencyHistogram
        From a frame's time to its first sample heard, the audio buffer included; in segment mode, for the first frame
        of each segment.
    """

    n_frames: int
    n_dropped_frames: int
    n_bad_spectra: int
    n_blocks: int
    n_samples: int
    n_xruns: int
    duration_s: float
    rtf: float
    engine: LatencyHistogram
    frame_to_sound: LatencyHistogram


class Meter:
    """Counts while it plays, in fixed memory.

    Notes
    -----
    `count_frame` belongs to the model thread; `count_block` and `count_latency` belong to the audio thread.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._n_frames = 0
        self._frames_s = 0.0
        self._n_blocks = 0
        self._n_samples = 0
        self._blocks_s = 0.0
        self._engine = LatencyHistogram()
        self._frame_to_sound = LatencyHistogram()

    def count_frame(self, worked_s: float) -> None:
        """Count one frame and the work it took."""
        self._n_frames += 1
        self._frames_s += worked_s

    def count_block(self, n_samples: int, worked_s: float) -> None:
        """Count one block and the work it took."""
        self._n_blocks += 1
        self._n_samples += n_samples
        self._blocks_s += worked_s

    def count_latency(self, engine_s: float, frame_to_sound_s: float) -> None:
        """Count how late one frame was."""
        self._engine.add(1000.0 * engine_s)
        self._frame_to_sound.add(1000.0 * frame_to_sound_s)

    def performance(self, n_dropped_frames: int, n_bad_spectra: int, n_xruns: int) -> Performance:
        """Sum up; only after the threads have ended."""
        duration_s = self._n_samples / self._rate_hz
        return Performance(
            n_frames=self._n_frames,
            n_dropped_frames=n_dropped_frames,
            n_bad_spectra=n_bad_spectra,
            n_blocks=self._n_blocks,
            n_samples=self._n_samples,
            n_xruns=n_xruns,
            duration_s=duration_s,
            rtf=(self._frames_s + self._blocks_s) / duration_s if duration_s else 0.0,
            engine=self._engine,
            frame_to_sound=self._frame_to_sound,
        )


class Tape:
    """Keeps columns and sound, up to the first `TAPE_S`.

    Parameters
    ----------
    n_features : int
        Values in a column.
    rate_hz : int
        Samples per second.
    duration_s : float
        How much is kept at most.

    Notes
    -----
    All memory is reserved at once (the system gives it page by page as it is written): in the audio path a block is
    copied, nothing grows. `add_column` belongs to the model thread, `add_sound` to the audio thread.
    """

    def __init__(self, n_features: int, rate_hz: int, duration_s: float = TAPE_S) -> None:
        n_columns = round(duration_s * MAX_FRAMES_PER_S)
        self.rate_hz = rate_hz
        self._columns = np.empty((n_columns, n_features), np.float32)
        self._times_s = np.empty(n_columns, np.float64)
        self._sound = np.empty(round(duration_s * rate_hz), np.float32)
        self._n_columns = 0
        self._n_samples = 0

    def add_column(self, column: Float32, time_s: float) -> None:
        """Keep a column."""
        if self._n_columns < len(self._columns):
            self._columns[self._n_columns] = column
            self._times_s[self._n_columns] = time_s
            self._n_columns += 1

    def add_sound(self, block: Float32) -> None:
        """Keep a block."""
        n = min(len(block), len(self._sound) - self._n_samples)
        self._sound[self._n_samples : self._n_samples + n] = block[:n]
        self._n_samples += n

    @property
    def columns(self) -> Float32:
        """Columns so far, shape (n, n_features), float32."""
        return self._columns[: self._n_columns]

    @property
    def times_s(self) -> npt.NDArray[np.float64]:
        """Times of the columns since the first, shape (n,), float64."""
        times_s = self._times_s[: self._n_columns]
        return times_s - times_s[:1]

    @property
    def sound(self) -> Float32:
        """Sound so far, shape (n_samples,), float32; sample 0 is the time of the first column."""
        return self._sound[: self._n_samples]
