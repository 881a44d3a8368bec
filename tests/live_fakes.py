"""What the engine's processes are given in tests: a stage that the test rules, a camera that sees it, a card that keeps
what it plays, models that go wrong. All of it is of this module, so that a process that is started finds it.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

import device.engine.model_process
from device.core.errors import ModelError
from device.core.frame import Frame
from device.edges.audio import AudioOutput
from device.edges.model import Float32, SpectrumModel
from device.engine.crew import LiveSettings
from device.engine.live import Live
from device.engine.model_process import ModelSetup, Playing, model_main
from device.engine.paced import MonotonicClock, PacedOutput
from device.engine.process import Part
from device.engine.realtime import Urgency
from device.engine.shared import Layout, SharedArrays
from device.engine.sound_process import ListeningPlan
from device.models.bundles import Bundle, load_bundle

HEIGHT, WIDTH = 48, 64
RATE_HZ = 48_000
FPS = 60.0
PLAYING = Playing("f16", "auto", "stream", 0.0, 0, 0.5, 0.1, 0.18)
SETTINGS = LiveSettings(PLAYING, RATE_HZ, HEIGHT, WIDTH, crossfade_s=0.05, urgency=Urgency(70, lock_memory=True))

SCENES = ("patches", "black", "nothing", "hangs", "turned", "wide numbers", "no time", "twice", "back")
"""What a camera may see; what it does then is in `StageCamera.read`."""
POLL_S = 0.002
LONGEST_S = 60.0
N_OPENED = 16
N_GOOD = 20
PATCH = 8
CARD: Layout = {
    "sound": ((round(LONGEST_S * RATE_HZ),), "f4"),
    "n_samples": ((1,), "i8"),
    "n_opened": ((1,), "i8"),
    "first_sample": ((N_OPENED,), "i8"),
    "first_s": ((N_OPENED,), "f8"),
    "n_lost": ((1,), "i8"),
    "is_stuck": ((1,), "i8"),
    "n_frozen": ((1,), "i8"),
    "scheduler": ((1,), "i8"),
}


class Stage:
    """What there is to see; the test says, the camera's process looks.

    Attributes
    ----------
    memory : SharedArrays
        'scene': what is seen; 'last_s', 'n_frames', 'n_opened': what the camera has done.
    """

    def __init__(self) -> None:
        self.memory = SharedArrays(dict.fromkeys(("scene", "last_s", "n_frames", "n_opened"), ((1,), "f8")))

    def show(self, scene: str) -> None:
        """Let this be seen from now on."""
        self.memory["scene"][0] = SCENES.index(scene)

    @property
    def scene(self) -> str:
        """What is seen."""
        return SCENES[int(self.memory["scene"][0])]

    @property
    def last_s(self) -> float:
        """Time of the last frame."""
        return float(self.memory["last_s"][0])

    @property
    def n_frames(self) -> int:
        """How many frames all cameras gave."""
        return int(self.memory["n_frames"][0])

    @property
    def n_opened(self) -> int:
        """How often a camera was opened."""
        return int(self.memory["n_opened"][0])


class StageCamera:
    """A camera at its own pace. Patches that come and go make the steadiest motion: each frame differs as much from the
    last; they are larger than what a room takes for its noise.
    """

    def __init__(self, stage: Stage, fps: float) -> None:
        self._stage = stage
        self._period_s = 1.0 / fps
        self._due_s = time.monotonic()
        patches = np.random.default_rng(0).integers(0, 256, (32, HEIGHT // PATCH, WIDTH // PATCH), np.uint8)
        self._pictures = patches.repeat(PATCH, axis=1).repeat(PATCH, axis=2)
        self._n = 0
        stage.memory["n_opened"][0] += 1

    def read(self) -> Frame:
        """Wait for the next frame of the scene."""
        while True:
            self._due_s += self._period_s
            time.sleep(max(0.0, self._due_s - time.monotonic()))
            scene = self._stage.scene
            if scene == "hangs":
                threading.Event().wait()
            if scene != "nothing":
                return self._frame(scene)

    def close(self) -> None:
        """Nothing is held."""

    def _frame(self, scene: str) -> Frame:
        now_s, self._n = time.monotonic(), self._n + 1
        grey: npt.NDArray[np.uint8] = self._pictures[self._n % len(self._pictures)]
        if scene == "black":
            grey = np.zeros_like(grey)
        elif scene == "turned":
            grey = np.ascontiguousarray(grey.T)
        elif scene == "wide numbers":
            grey = grey.astype(np.float32)  # a driver that breaks its promise
        # Between frames that can be used, as a driver that has gone wrong would mix them.
        is_odd = self._n % 2 == 1
        times_s = {"no time": float("nan"), "twice": self._stage.last_s, "back": now_s - 3600.0}
        self._stage.memory["n_frames"][0] += 1
        if scene in times_s and is_odd:
            return Frame(grey, times_s[scene])
        self._stage.memory["last_s"][0] = now_s
        return Frame(grey, now_s)


class Card:
    """What a card has played, and how its process was set up; the card's process writes, the test reads."""

    def __init__(self) -> None:
        self.memory = SharedArrays(CARD)

    @property
    def n_opened(self) -> int:
        """How often the card was opened."""
        return int(self.memory["n_opened"][0])

    @property
    def played(self) -> Float32:
        """All that was played, every opening after the one before."""
        sound: Float32 = self.memory["sound"][: int(self.memory["n_samples"][0])]
        return sound

    def heard(self) -> tuple[npt.NDArray[np.float64], Float32]:
        """All samples so far, each with the time at which it was heard."""
        played, n_opened = self.played, self.n_opened
        firsts, first_s = self.memory["first_sample"][:n_opened], self.memory["first_s"][:n_opened]
        index = np.arange(len(played))
        opening = np.searchsorted(firsts, index, side="right") - 1
        return first_s[opening] + (index - firsts[opening]) / RATE_HZ, played

    def between(self, from_s: float, to_s: float) -> Float32:
        """What was heard in a time."""
        heard_s, played = self.heard()
        return played[(heard_s >= from_s) & (heard_s < to_s)]

    def first_loud_s(self, since_s: float, loud: float = 0.05) -> float | None:
        """When something loud was first heard, of what is heard after a time."""
        heard_s, played = self.heard()
        loud_s = heard_s[(heard_s >= since_s) & (np.abs(played) > loud)]
        return float(loud_s[0]) if len(loud_s) else None

    def stick(self) -> None:
        """Let the card that is open take nothing more."""
        self.memory["is_stuck"][0] = 1


class Recorder:
    """A device that takes blocks at once and keeps them."""

    rate_hz = RATE_HZ
    n_xruns = 0

    def __init__(self, card: Card, period: int, n_periods: int) -> None:
        self.period, self.buffer = period, period * n_periods
        self._memory = card.memory
        self._is_new = True
        self._memory["is_stuck"][0] = 0

    def wait(self) -> None:
        """There is always room."""

    def write(self, block: Float32) -> None:
        """Keep a block."""
        memory, n = self._memory, int(self._memory["n_samples"][0])
        if self._is_new:
            self._begin(n)
        if memory["is_stuck"][0]:
            threading.Event().wait()
        memory["sound"][n : n + len(block)] = block
        memory["n_samples"][0] = n + len(block)

    def close(self) -> None:
        """Nothing is held."""

    def _begin(self, n: int) -> None:
        self._is_new = False
        n_opened = int(self._memory["n_opened"][0])
        self._memory["first_sample"][n_opened], self._memory["first_s"][n_opened] = n, time.monotonic()
        self._memory["n_opened"][0] = n_opened + 1
        self._memory["n_frozen"][0] = 0 if gc.isenabled() else gc.get_freeze_count()
        self._memory["scheduler"][0] = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


@contextmanager
def open_card(card: Card, period: int, n_periods: int) -> Iterator[AudioOutput]:
    """Open the card in the sound's process: it takes blocks as time goes by."""
    yield PacedOutput(Recorder(card, period, n_periods), MonotonicClock())


def bad_model_main(part: Part, setup: ModelSetup) -> None:
    """Run a model's process in which bundles called like one of `BAD_RUNS` go wrong, and 'hangs' is never loaded."""
    name = setup.bundle.name
    if name == "hangs":
        threading.Event().wait()
    if name == "dies":
        os._exit(3)
    if name in BAD_RUNS:
        vars(device.engine.model_process)["load_bundle"] = partial(_load_bad, name)
    model_main(part, setup)


def _load_bad(name: str, path: Path, variant: str, runtime: str) -> Bundle:
    bundle = load_bundle(path, variant, runtime)
    return replace(bundle, model=_BadModel(bundle.model, name))  # type: ignore[arg-type]  # it behaves like one


class _BadModel:
    """Plays well for `N_GOOD` frames with motion, then badly at two of three."""

    def __init__(self, model: SpectrumModel, name: str) -> None:
        self.n_columns, self.n_features = model.n_columns, model.n_features
        self.n_latent, self.n_bins = model.n_latent, model.n_bins
        self.runtime, self.variant = model.runtime, model.variant
        self._model, self._bad = model, BAD_RUNS[name]
        self._n_runs = 0

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        spectrum = self._model.run(motion, noise, position)
        self._n_runs += bool(motion.any())
        return self._bad(spectrum) if self._n_runs > N_GOOD and self._n_runs % 3 else spectrum


def _raise(spectrum: Float32) -> Float32:
    raise ModelError(f"the runtime has given up on {len(spectrum)} bins: choose another bundle")


def _stall(spectrum: Float32) -> Float32:
    threading.Event().wait()
    return spectrum


BAD_RUNS = {
    "nan": lambda spectrum: np.full_like(spectrum, np.nan),
    "shape": lambda spectrum: np.ones(len(spectrum) + 1, np.float32),
    "huge": lambda spectrum: np.full_like(spectrum, 1e30),
    "negative": lambda spectrum: np.full_like(spectrum, -1.0),
    "raises": _raise,
    "stalls": _stall,
}


class Rig:
    """An engine with its stage and its card.

    Parameters
    ----------
    bundle : Path
    n_periods : int
        Of 128 samples: many where the machine's own stalls shall not count, few where delays are measured.
    settings : LiveSettings
    fps : float
    listening : ListeningPlan, optional
        What comes in.
    """

    def __init__(
        self,
        bundle: Path,
        n_periods: int = 32,
        settings: LiveSettings = SETTINGS,
        fps: float = FPS,
        period: int = 128,
        listening: ListeningPlan | None = None,
    ) -> None:
        self.stage, self.card = Stage(), Card()
        self.buffer_s = period * n_periods / RATE_HZ
        open_camera = partial(StageCamera, self.stage, fps)
        open_output = partial(open_card, self.card, period, n_periods)
        self.live = Live(open_camera, open_output, bundle, settings, listening=listening)
        self._n_xruns_before = 0

    @property
    def n_xruns(self) -> int:
        """Underruns since it has started: before that nothing can be heard, and all processes are busy starting."""
        return self.live.meter.count("n_xruns") - self._n_xruns_before

    def start(self) -> None:
        """Play, until it is heard."""
        self.live.start()
        self.until_heard(0.0)
        self.count_from_now()

    def count_from_now(self) -> None:
        """Forget the underruns until now."""
        self._n_xruns_before = self.live.meter.count("n_xruns")

    def until(self, is_so: Callable[[], bool], timeout_s: float = 15.0) -> float:
        """Watch until a condition holds; give the time. Its not coming is a failure."""
        give_up_s = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < give_up_s, f"not within {timeout_s:g} s; the log says why"
            self.live.watch(0.01)
        return time.monotonic()

    def play(self, duration_s: float) -> float:
        """Watch for a while; give the time."""
        end_s = time.monotonic() + duration_s
        return self.until(lambda: time.monotonic() >= end_s, duration_s + 10.0)

    def until_heard(self, since_s: float) -> float:
        """Watch until something loud is played of what is heard after a time; give when it is heard."""
        self.until(lambda: self.card.first_loud_s(since_s) is not None)
        heard_s = self.card.first_loud_s(since_s)
        assert heard_s is not None
        return heard_s


@contextmanager
def rig(bundle: Path, **how: object) -> Iterator[Rig]:
    """Play, with a dance that never stops, from when all is heard; end all of it."""
    made = Rig(bundle, **how)  # type: ignore[arg-type]  # as Rig says
    try:
        made.start()
        yield made
    finally:
        made.live.close()


def perform_for_ever(bundle: str) -> None:
    """Play until killed; print a line once it is heard. In a process of its own."""
    with rig(Path(bundle)) as made:
        sys.stdout.write("playing\n")
        sys.stdout.flush()
        while True:
            made.live.watch()
