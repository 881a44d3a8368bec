"""What a box does with its disk, what it has promised at each moment, and what must be there after a power cut."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.bundle import MODEL_FILES, Manifest
from device.core.errors import DanceSamplerError
from device.core.golden import make_golden
from device.core.motiongram import MotionSettings
from device.core.room_profile import RoomProfile
from device.core.synth import SynthSettings
from device.models.bundles import FACTORY, read_bundle, write_bundle
from device.models.model_copy import N_DIGITS
from device.models.model_store import install_bundle, installed_bundles, switch_current
from device.models.model_trial import bundle_at_start, commit, postpone, roll_back
from device.models.model_tryout import TryOut
from device.store.rooms import load_room, save_room
from device.store.starts import n_failed_starts, note_healthy, note_start
from device.store.store import Take, TakeWriter, allocate, list_takes, salvage_all, take_folders
from tests.power_cut.watched_os import WatchedOs

SETTINGS = MotionSettings(height=4, width=6)
RATE_HZ = 16_000
FPS = 25.0
BLOCK = int(RATE_HZ / FPS)
LOST_S = 1.0
"""A pulled plug may take so much of a recording that is running, and no more."""
PROMISE_EVERY = 4


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a take must hold: a finished one exactly, a running one at least."""

    name: str
    columns: npt.NDArray[np.float32]
    sound: npt.NDArray[np.int16]
    is_cancelled: bool = False


@dataclass(frozen=True, eq=False)
class Promised:
    """What must be there if the power is cut now.

    Attributes
    ----------
    takes : tuple of Recorded
        Takes that were finished.
    highest : int
        Highest number that a take ever had that was finished.
    running : Recorded or None
        Of the take that is being recorded, what is older than the last second.
    models : tuple of str
        Folders of which one must be current; 'bundle' is the factory's.
    good : tuple of str or None
        Folders of which one is current, or the current one is on trial; None: not looked at.
    rooms : tuple of (bytes or None)
        Profiles of which one must be there.
    starts : tuple of int
        Counts of which one must hold.
    """

    takes: tuple[Recorded, ...] = ()
    highest: int = 0
    running: Recorded | None = None
    models: tuple[str, ...] = (FACTORY.name,)
    good: tuple[str, ...] | None = None
    rooms: tuple[bytes | None, ...] = (None,)
    starts: tuple[int, ...] = (0,)


@dataclass
class Box:
    """A box on a watched disk."""

    disk: WatchedOs
    promised: Promised = field(default_factory=Promised)

    @property
    def state(self) -> Path:
        return self.disk.root / "state"

    @property
    def takes_dir(self) -> Path:
        return self.state / "takes"

    def promise(self, **changes: object) -> None:
        self.promised = replace(self.promised, **changes)  # type: ignore[arg-type]
        self.disk.promise(self.promised)


def columns_of(n: int, seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).random((n, SETTINGS.n_features), dtype=np.float32)


def sound_of(n: int, seed: int) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-32768, 32768, n).astype(np.int16)


class Recording:
    """A take that is being recorded, on a clock that goes by frames, and what must be safe of it."""

    def __init__(self, box: Box, duration_s: float, seed: int) -> None:
        self.n_frames = int(duration_s * FPS)
        self.columns = columns_of(self.n_frames, seed)
        self.sound = sound_of(self.n_frames * BLOCK, seed)
        self.n_added = 0
        self._now_s = 0.0
        self._box = box
        self.writer = TakeWriter(box.takes_dir, SETTINGS, RATE_HZ, {"seed": seed}, clock=lambda: self._now_s)

    def add(self) -> None:
        """Add a frame and its sound."""
        index = self.n_added
        self._now_s = index / FPS
        self.writer.add_columns(self.columns[index : index + 1], np.array([index / FPS]))
        self.writer.add_sound(self.sound[index * BLOCK : (index + 1) * BLOCK], index / FPS)
        self.n_added += 1

    def safe(self) -> Recorded | None:
        """Give what may no longer be lost."""
        n_safe = self.n_added - int(LOST_S * FPS)
        if n_safe <= 0:
            return None
        return Recorded(self.writer.path.name, self.columns[:n_safe], self.sound[: n_safe * BLOCK])

    def whole(self, *, is_cancelled: bool = False) -> Recorded:
        n_samples = self.n_added * BLOCK
        return Recorded(self.writer.path.name, self.columns[: self.n_added], self.sound[:n_samples], is_cancelled)


def record(box: Box, duration_s: float, seed: int, *, is_cancelled: bool = False) -> None:
    recording = Recording(box, duration_s, seed)
    for index in range(recording.n_frames):
        recording.add()
        if index % PROMISE_EVERY == 0:
            box.promise(running=recording.safe())
    box.promise(running=recording.safe())
    recording.writer.finish(cancelled=is_cancelled, n_dropped=0)
    whole = recording.whole(is_cancelled=is_cancelled)
    box.promise(running=None, takes=(*box.promised.takes, whole), highest=int(whole.name))


def records(box: Box) -> None:
    """A new box records, and again."""
    record(box, 2.0, seed=1)
    record(box, 0.6, seed=2, is_cancelled=True)


def records_where_takes_were_deleted(box: Box) -> None:
    """Its owner carried all takes away, and deleted them."""
    record(box, 0.4, seed=1)


def takes_were_deleted(state: Path) -> Promised:
    for _ in range(2):
        writer = TakeWriter(state / "takes", SETTINGS, RATE_HZ, {})
        writer.add_columns(columns_of(10, 0), np.arange(10) / FPS)
        writer.add_sound(sound_of(4000, 0), 0.0)
        shutil.rmtree(writer.finish().path)
    (state / "takes" / "0001").mkdir()  # and a folder of the same number came from elsewhere
    return Promised(highest=2)


def salvages(box: Box) -> None:
    """It starts after a power cut, and the power is cut again."""
    salvage_all(box.takes_dir)


def take_was_cut_short(state: Path) -> Promised:
    box = Box(WatchedOs(state.parent))
    recording = Recording(box, 2.0, seed=3)
    for _ in range(recording.n_frames):
        recording.add()
    recording.writer.close()
    return Promised(running=recording.safe())


def abandons(box: Box) -> None:
    """A recording is given up, another is made."""
    recording = Recording(box, 0.4, seed=4)
    for _ in range(recording.n_frames):
        recording.add()
    recording.writer.abandon()
    record(box, 0.4, seed=5)


def bundle(folder: Path, version: int, name: str = "mine") -> Path:
    """Give a bundle that is whole; what its models would play does not matter to a disk."""
    rng = np.random.default_rng(version)
    n_bins = SynthSettings().n_bins
    zeros = (np.zeros((5, 10), np.float32), np.zeros(2, np.float32), 1.0)
    outputs = np.zeros((1, n_bins), np.float32)
    keys = [f"{variant}/{runtime}" for variant in MODEL_FILES for runtime in ("tflite-runtime", "ai-edge-litert")]
    golden = make_golden([zeros], dict.fromkeys(keys, outputs), dict.fromkeys(keys, 0.1))
    manifest = Manifest(
        name=name, version=version, rate_hz=48_000, grid_rate_hz=50.0, motion=SETTINGS, synth=SynthSettings(),
        segment_s=0.1, lead_s=0.0, n_latent=2, n_columns=5, temperature=0.0, figures={}, files={}, golden=golden,
        signed=False,
    )  # fmt: skip
    files = {file: b"\x1c\x00\x00\x00TFL3" + rng.bytes(3000) for file in MODEL_FILES.values()}
    write_bundle(folder / f"{name}-{version}", manifest, files)
    return folder / f"{name}-{version}"


def name_of(source: Path) -> str:
    return hashlib.sha256((source / "manifest.json").read_bytes()).hexdigest()[:N_DIGITS]


def installs(box: Box) -> None:
    """Models come, one after the other; the oldest goes; one that was there is played again."""
    sent = box.disk.root.parent / "sent"
    sources = [bundle(sent, 1), bundle(sent, 2), bundle(sent, 3), bundle(sent, 1, "other")]
    with pytest.MonkeyPatch.context() as patch:
        # Made of noise: nothing that could play.
        patch.setattr("device.models.model_copy.try_out", lambda *_: TryOut("f16", {}, 0.0, 0.0))
        for source in [*sources, sources[2]]:
            box.promise(models=(*box.promised.models, name_of(source)))
            install_bundle(source, box.state, allowed_signers=None, require_signature=False, n_kept=2)
            box.promise(models=(name_of(source),))
    for path in (installed_bundles(box.state)[0], FACTORY):
        box.promise(models=(*box.promised.models, path.name))
        switch_current(box.state, path)
        box.promise(models=(path.name,))


def tries_models(box: Box) -> None:
    """A model is tried and stays; the next one is tried and taken back; the third is stopped in order, and tried again.

    A power cut in a trial must be followed by a start with the last good one; before it, the new one has its turn.
    """
    sent = box.disk.root.parent / "sent"
    first, second, third = (bundle(sent, version) for version in (1, 2, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("device.models.model_copy.try_out", lambda *_: TryOut("f16", {}, 0.0, 0.0))

        def install(source: Path, good: str) -> None:
            box.promise(models=(good, name_of(source)))
            install_bundle(source, box.state, allowed_signers=None, require_signature=False)
            box.promise(models=(name_of(source),))
            assert begins(box, good, name_of(source))

        box.promise(good=(FACTORY.name,))
        install(first, FACTORY.name)
        box.promise(models=(name_of(first), FACTORY.name), good=(FACTORY.name, name_of(first)))
        commit(box.state, box.state / "models" / name_of(first))
        box.promise(models=(name_of(first),))
        install(second, name_of(first))
        roll_back(box.state)
        install(third, name_of(first))
        box.promise(models=(name_of(first), name_of(third)))
        postpone(box.state)
        box.promise(models=(name_of(third),))


def begins(box: Box, good: str, new: str) -> bool:
    """Begin a trial: from the moment that it is counted, only the good one may be started with."""
    box.promise(models=(good, new))
    path, is_trial = bundle_at_start(box.state)
    box.promise(models=(good,))
    return is_trial and path.name == new


def learns_the_room(box: Box) -> None:
    """The room's profile is stored now and then."""
    for index in range(3):
        noise = np.random.default_rng(index).uniform(0, 30, (30, 40)).astype(np.float32)
        profile = RoomProfile(noise, flicker=1.0, size=0.5, has_danced=True)
        box.promise(rooms=(*box.promised.rooms, profile.to_json()))
        save_room(box.state / "room.json", profile)
        box.promise(rooms=(profile.to_json(),))


def starts_again_and_again(box: Box) -> None:
    """It starts, fails, starts, fails, starts and plays."""
    run = box.disk.root.parent / "run"
    for n_starts in (1, 2, 3):
        box.promise(starts=(n_starts - 1, n_starts))
        assert note_start(box.state, 0.0, run) == n_starts
        box.promise(starts=(n_starts,))
    box.promise(starts=(3, 0))
    note_healthy(box.state, run)
    box.promise(starts=(0,))


DOINGS: dict[str, Callable[[Box], None]] = {
    doing.__name__: doing
    for doing in (
        records,
        records_where_takes_were_deleted,
        salvages,
        abandons,
        installs,
        tries_models,
        learns_the_room,
        starts_again_and_again,
    )
}
"""All of it, by name."""
BEFORE: dict[str, Callable[[Path], Promised]] = {
    "records_where_takes_were_deleted": takes_were_deleted,
    "salvages": take_was_cut_short,
}
"""What lies on the disk when it begins, where that is more than nothing."""


def problems(state: Path, promised: Promised) -> list[str]:
    """Start a box after a power cut, and say what of the promised is not there."""
    if not state.is_dir():
        return ["the folder of the state is gone"]
    try:
        return [*_problems(state, promised)]
    except (DanceSamplerError, OSError) as error:
        return [f"it does not start: {error!r}"]


def _problems(state: Path, promised: Promised) -> Iterator[str]:
    if n_failed_starts(state, state / "none") not in promised.starts:
        yield f"{n_failed_starts(state, state / 'none')} failed starts, not one of {promised.starts}"
    profile = load_room(state / "room.json")
    if (None if profile is None else profile.to_json()) not in promised.rooms:
        yield "the room is neither the old nor the new"
    yield from _problems_of_models(state, promised)
    salvage_all(state / "takes")
    takes = list_takes(state / "takes")
    yield from _problems_of_takes(takes, promised)
    for path in take_folders(state / "takes"):
        shutil.rmtree(path)
    highest = max([promised.highest, *(take.number for take in takes)])
    if int(allocate(state / "takes").name) <= highest:
        yield "a number is given twice"


def _problems_of_models(state: Path, promised: Promised) -> Iterator[str]:
    current, is_trial = bundle_at_start(state)
    if promised.good is not None and not is_trial and current.name not in promised.good:
        yield f"{current.name} plays, and nobody watches whether it does well"
    if current.name not in promised.models:
        yield f"{current.name} is current, not one of {promised.models}"
    for path in installed_bundles(state):
        read_bundle(path)
        if name_of(path) != path.name:
            yield f"{path} holds another model"


def _problems_of_takes(takes: list[Take], promised: Promised) -> Iterator[str]:
    found = {take.path.name: take for take in takes}
    for due in [*promised.takes, *([promised.running] if promised.running else [])]:
        take = found.get(due.name)
        if take is None:
            yield f"take {due.name} is lost"
        elif due in promised.takes:
            if not (take.n_columns == len(due.columns) and take.n_samples == len(due.sound)):
                yield f"take {due.name} was whole and is not"
            if take.facts.salvaged or take.facts.cancelled != due.is_cancelled:
                yield f"take {due.name} is marked as it was not"
        if take is not None and not _begins_with(take, due):
            yield f"take {due.name} holds less than was promised of it, or something else"


def _begins_with(take: Take, due: Recorded) -> bool:
    sound = np.rint(take.sound_at(0, len(due.sound)) * 32768).astype(np.int16)
    is_long_enough = take.n_columns >= len(due.columns) and take.n_samples >= len(due.sound)
    return (
        is_long_enough
        and np.array_equal(take.columns_at(0, len(due.columns)), due.columns)
        and np.array_equal(sound, due.sound)
    )


@contextmanager
def cheap_syncs() -> Iterator[None]:
    """Wait for no real disk: what is started after a cut is not cut again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield
