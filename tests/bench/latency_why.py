"""Where the time goes before a changed scene is heard: in what the columns show, what the model says, or the synth.

By a clock that only moves when it is waited on, so nobody is late: what is left is what the parts do by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from device.core.frame import Frame
from device.core.room import RoomMotiongram
from device.core.room_profile import RoomSettings
from device.core.synth import Synth, SynthSettings
from device.edges.model import Float32
from device.engine.performance import allocate
from device.engine.player import Player
from device.models.bundles import Bundle
from tests.bench.latency_analysis import SETTLED_S, Feature, Float64, find_changes, spectrum
from tests.bench.latency_card import Heard
from tests.bench.latency_stimulus import ZOOM, StimulusCamera, StimulusPlan, stimulus_layout


@dataclass
class SteppedClock:
    """A clock that moves when it is waited on."""

    time_s: float = 0.0

    def now_s(self) -> float:
        """Seconds since it was made."""
        return self.time_s

    def wait(self, duration_s: float) -> None:
        """Let so much time be past."""
        self.time_s += max(0.0, duration_s)


def frames_of(plan: StimulusPlan) -> list[Frame]:
    """All frames of a plan, at once."""
    camera = StimulusCamera(plan, allocate(stimulus_layout()), SteppedClock())
    return list(takewhile(lambda frame: frame.time_s < plan.duration_s, _read_all(camera)))


def _read_all(camera: StimulusCamera) -> Iterator[Frame]:
    while (frame := camera.read()) is not None:
        yield frame


def stages_s(bundle: Bundle, plan: StimulusPlan) -> dict[str, list[Float64]]:
    """How long after the first frame of a changed scene each stage has passed half of its way.

    Parameters
    ----------
    bundle : Bundle
    plan : StimulusPlan
        Of two scenes.

    Returns
    -------
    dict of str to list of np.ndarray, shape (n_changes,), float64
        'columns'; 'model', its spectra; 'heard', what the synth makes of them at once; and 'switched', what it makes
        of spectra that change with the frame from the mean of one scene to that of the other. Of the changes from the
        first scene to the second, and back; seconds.
    """
    frames = frames_of(plan)
    times_s = np.array([frame.time_s for frame in frames])
    columns, spectra = _play(bundle, frames)
    of_scene = [_scene_after(plan, time_s) for time_s in times_s]
    means = np.array([spectra[_settled(plan, times_s, scene)].mean(axis=0) for scene in (0, 1)])
    features = {
        "columns": _held(columns, times_s),
        "model": _held(spectra, times_s),
        "heard": spectrum(_sounding(bundle.manifest.synth, spectra, times_s)),
        "switched": spectrum(_sounding(bundle.manifest.synth, means[of_scene], times_s)),
    }
    return {name: _after_frame_s(feature, plan) for name, feature in features.items()}


def _play(bundle: Bundle, frames: list[Frame]) -> tuple[Float32, Float32]:
    """Columns, shape (n_frames, n_features), and the model's spectra, (n_frames, n_bins), at temperature 0."""
    room = RoomMotiongram(bundle.manifest.motion, adapt=RoomSettings(zoom=ZOOM))
    player = Player(bundle.manifest, bundle.model, motiongram=room)
    columns, spectra = [], []
    for frame in frames:
        columns.append(player.see(frame).column)
        player.on_column(columns[-1], frame.time_s)
        assert player.scores.news is not None
        spectra.append(player.scores.news.score.spectra[0].copy())
    return np.array(columns), np.array(spectra)


def _scene_after(plan: StimulusPlan, time_s: float) -> int:
    return int(np.searchsorted(plan.changes_s(), time_s, side="right")) % 2


def _settled(plan: StimulusPlan, times_s: Float64, scene: int) -> npt.NDArray[np.bool_]:
    """Which frames show this scene when it has lasted for some time and is about to change."""
    ends_s = plan.changes_s()[scene::2, np.newaxis]
    is_settled: npt.NDArray[np.bool_] = ((times_s > ends_s - SETTLED_S) & (times_s < ends_s)).any(axis=0)
    return is_settled


def _held(values: Float32, times_s: Float64) -> Feature:
    """Values that change with each frame, and not between two."""
    until_s = np.append(times_s[1:], times_s[-1] + 1.0) - 1e-6
    moments_s = np.stack([times_s, until_s], axis=1).ravel()
    return Feature(np.repeat(values, 2, axis=0).astype(np.float64), moments_s)


def _sounding(settings: SynthSettings, spectra: Float32, times_s: Float64) -> Heard:
    """What the synth makes of spectra that come with the frames."""
    synth = Synth(settings)
    until = np.round(np.append(times_s[1:], times_s[-1] + 0.02) * settings.rate_hz).astype(np.int64)
    sound = np.zeros(int(until[-1]), np.float32)
    start = 0
    for each, end in zip(spectra, until, strict=True):
        synth.set_spectrum(each)
        synth.fill(sound[start:end])
        start = int(end)
    return Heard(sound, settings.rate_hz, 0.0)


def _after_frame_s(feature: Feature, plan: StimulusPlan) -> list[Float64]:
    found = find_changes(feature, plan.changes_s(), plan.ages_s(), plan.duration_s)
    return [changes.after_frame_s for changes in found]
