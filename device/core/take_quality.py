"""What is wrong with a recording, in figures and in words: a take that nobody can learn from should be known as one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

LARGEST_CLIPPED_SHARE = 1e-4
"""Of the samples: five in a second at 48 kHz. One loud drum is no harm; one in every second is heard, and learned."""
SILENT_DBFS = -60.0
"""A second quieter than this is silent: a line input's own noise lies below, the softest music above."""
COVERED_CONTRAST = 4.0
"""Grey levels of standard deviation over the picture: a lens with its cap on has the camera's noise, 1 to 3; an empty
white wall with light from one side has 10 and more."""
DARK_GREY = 8.0
"""Mean grey level below which a dancer cannot be told from the dark, whatever the contrast: black is 0, or 16 from
cameras that keep to the limited range, and then the contrast tells."""
STILL_QUANTITY = 0.02
"""Mean grey levels of motion in a second: an arm that moves in a fiftieth of the picture makes 0.2 and more, the noise
of a lit camera, below its threshold, 0."""
LARGEST_BAD_SHARE = 0.5
"""Silence or rest for more than half of the take is no dance to music; pauses are part of one."""
LARGEST_COVERED_SHARE = 0.1
"""Nothing hides the camera in the course of a dance: a tenth is a hand, a coat or a switch."""
LARGEST_LOST_SHARE = 0.01
"""Of frames or samples that should have come."""


class TakeQuality:
    """Looks at a take as it is recorded; memory is flat.

    Parameters
    ----------
    rate_hz : int
        Of the sound.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._n_samples = self._n_clipped = self._n_lost_samples = 0
        self._second_energy, self._n_in_second = 0.0, 0
        self._n_seconds = self._n_silent = 0
        self._peak = 0.0
        self._n_frames = self._n_lost_frames = 0
        self._look_s = -math.inf
        self._n_looks = self._n_covered = self._n_still = 0
        self._quantity, self._n_quantities = 0.0, 0

    def hear(self, samples: npt.NDArray[np.float32], n_clipped: int) -> None:
        """Take the next samples, shape (n_samples,), and how many of them are at full scale in some channel."""
        self._n_samples += len(samples)
        self._n_clipped += n_clipped
        while len(samples):
            part = samples[: self._rate_hz - self._n_in_second]
            samples = samples[len(part) :]
            self._peak = max(self._peak, float(np.abs(part).max()))
            self._second_energy += float(np.dot(part, part))
            self._n_in_second += len(part)
            if self._n_in_second == self._rate_hz:
                self._count_second()

    def see(self, grey: Picture, quantity: float, time_s: float) -> None:
        """Take the next frame and its quantity of motion; the picture is looked at once a second."""
        self._n_frames += 1
        self._quantity += quantity
        self._n_quantities += 1
        if time_s >= self._look_s + 1.0:
            is_first, self._look_s = self._n_looks == 0, time_s
            self._n_looks += 1
            self._n_covered += bool(grey.std() < COVERED_CONTRAST or grey.mean() < DARK_GREY)
            # The first frame has none before it that it could differ from.
            self._n_still += not is_first and self._quantity / self._n_quantities < STILL_QUANTITY
            self._quantity, self._n_quantities = 0.0, 0

    def lose(self, n_samples: int = 0, n_frames: int = 0) -> None:
        """Count what came and could not be recorded."""
        self._n_lost_samples += n_samples
        self._n_lost_frames += n_frames

    def notes(self) -> dict[str, object]:
        """Say how it is: figures by name, and under `marks` what is wrong in words, nothing if all is well."""
        if self._n_in_second and not self._n_seconds:
            self._count_second()
        figures: dict[str, object] = {
            "peak_dbfs": round(20.0 * math.log10(max(self._peak, 1e-6)), 1),
            "clipped_share": round(_share(self._n_clipped, self._n_samples), 6),
            "silent_share": round(_share(self._n_silent, self._n_seconds), 3),
            "covered_share": round(_share(self._n_covered, self._n_looks), 3),
            "still_share": round(_share(self._n_still, self._n_looks - 1), 3),
            "n_lost_frames": self._n_lost_frames,
            "n_lost_samples": self._n_lost_samples,
        }
        return {**figures, "marks": ", ".join(self._marks())}

    def _marks(self) -> list[str]:
        found = {
            "clipping": _share(self._n_clipped, self._n_samples) > LARGEST_CLIPPED_SHARE,
            "silence": _share(self._n_silent, self._n_seconds) > LARGEST_BAD_SHARE,
            "covered camera": _share(self._n_covered, self._n_looks) > LARGEST_COVERED_SHARE,
            "nobody moving": _share(self._n_still, self._n_looks - 1) > LARGEST_BAD_SHARE,
            "frames lost": _share(self._n_lost_frames, self._n_frames + self._n_lost_frames) > LARGEST_LOST_SHARE,
            "sound lost": _share(self._n_lost_samples, self._n_samples) > LARGEST_LOST_SHARE,
        }
        return [mark for mark, is_so in found.items() if is_so]

    def _count_second(self) -> None:
        self._n_seconds += 1
        level = math.sqrt(self._second_energy / self._n_in_second)
        self._n_silent += level < 10.0 ** (SILENT_DBFS / 20.0)
        self._second_energy, self._n_in_second = 0.0, 0


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
