"""Where a training begins: with the weights of a finished run, or of a bundle, which has those that a box plays.

A bundle holds the motion encoder and the sound decoder. The joint encoder and the motion decoder, which only training
needs, begin anew then, and learn from the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.core.bundle import MANIFEST
from device.core.errors import BundleError, UsageError
from device.core.golden import largest_error
from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings
from device.models.bundles import FACTORY, read_bundle
from device.store.store import Take
from trainer.data.take_hash import take_hash
from trainer.exporting.tflite_weights import read_layers
from trainer.runs.folder import SETTINGS, exported_version, load_run, read_run, require_finished
from trainer.settings import HELD_OUT, RunSettings

if TYPE_CHECKING:
    from trainer.learning.model import DanceVAE

FACTORY_WORD = "factory"


@dataclass(frozen=True, eq=False)
class Start:
    """What a training can begin with.

    Attributes
    ----------
    name : str
        As the user gave it.
    path : Path
        Folder of the run or the bundle.
    version : int
        That of its newest bundle: a bundle of the new run gets a higher one.
    motion : MotionSettings
    synth : SynthSettings
    segment_s, lead_s, grid_rate_hz : float
    n_latent, n_hidden, n_filters : int
    run : RunSettings or None
        What was chosen for it, where it is a run.
    learned : Mapping[str, float]
        Hash of each take that it has learned from, it or what it began with, and how much of that take's end it
        never saw, 0 to 1; empty for a bundle, of which this is not known.
    kept_back : frozenset of str
        Hash of each take that it held out as a whole.
    """

    name: str
    path: Path
    version: int
    motion: MotionSettings
    synth: SynthSettings
    segment_s: float
    lead_s: float
    grid_rate_hz: float
    n_latent: int
    n_hidden: int
    n_filters: int
    run: RunSettings | None
    learned: Mapping[str, float]
    kept_back: frozenset[str] = frozenset()

    def held_out(self, takes: Sequence[Take]) -> tuple[float, list[int]]:
        """What a run that begins here holds out unless the user says otherwise: the same end of each take, or takes."""
        if self.run is None:
            return HELD_OUT, []
        return self.run.held_out, [take.number for take in takes if take_hash(take) in self.kept_back]

    def facts(self) -> dict[str, object]:
        """What `run.json` keeps of it."""
        return {
            "name": self.name,
            "from": str(self.path.resolve()),
            "version": self.version,
            "learned": dict(self.learned),
        }

    def load_into(self, model: DanceVAE) -> None:
        """Give a new model the weights.

        Raises
        ------
        TrainingError, BundleError
            They are damaged, or do not make the sound that they should.
        """
        if self.run is None:
            _load_bundle(self.path, model)
        else:
            model.set_weights(load_run(self.path)[2].get_weights())


def open_start(name: str) -> Start:
    """Find what a training is to begin with.

    Parameters
    ----------
    name : str
        Folder of a finished run or of a bundle, or the word factory.

    Raises
    ------
    UsageError
        It is neither.
    TrainingError, BundleError
        It is not finished, or damaged.
    """
    path = FACTORY if name == FACTORY_WORD else Path(name)
    if (path / SETTINGS).exists():
        return _open_run(name, path)
    if (path / MANIFEST).exists():
        return _open_bundle(name, path)
    raise UsageError(f"--from {name} is no run and no bundle: give the folder of one, or the word {FACTORY_WORD}")


def check_fit(start: Start, takes: Sequence[Take], settings: RunSettings) -> None:
    """Make sure that a run with these takes and settings can begin there.

    Raises
    ------
    UsageError
        A setting differs that the weights were made for, or what would be held out is what they have learned.
    """
    example, model = settings.example, settings.model
    if takes[0].settings != start.motion:
        raise UsageError(
            f"the takes have other motion settings than {start.name} was trained on ({_differing(takes[0], start)}): "
            "import them again with those, or train without --from"
        )
    pairs = (
        ("sound at", example.synth.rate_hz, start.synth.rate_hz, " Hz", "import the takes again at that rate"),
        ("--segment-s", example.segment_s, start.segment_s, "", "leave the option away"),
        ("--lead-s", example.lead_s, start.lead_s, "", "leave the option away"),
        ("--latents", model.n_latent, start.n_latent, "", "leave the option away"),
        ("columns a second:", example.grid_rate_hz, start.grid_rate_hz, "", "use the program that made it"),
        ("synth", example.synth, start.synth, "", "use the program that made it"),
    )
    for what, has, wanted, unit, remedy in pairs:
        if has != wanted:
            raise UsageError(
                f"{what} {has}{unit} does not fit {start.name}, which has {wanted}{unit}: "
                f"{remedy}, or train without --from"
            )
    _check_unseen(start, takes, settings)


def _check_unseen(start: Start, takes: Sequence[Take], settings: RunSettings) -> None:
    for take in takes if start.learned else ():
        seen_from = start.learned.get(take_hash(take), 1.0)
        if settings.held_out_of(take.number) > seen_from + 1e-9:
            raise UsageError(
                f"take {take.number:04d} would be held out, and {start.name} has learned from it: its figures would "
                "flatter; hold out what it held out (leave --held-out and --held-out-takes away), or train without "
                "--from"
            )


def _differing(take: Take, start: Start) -> str:
    has, wanted = (each.__dict__ for each in (take.settings, start.motion))
    return ", ".join(f"{name} {has[name]} not {wanted[name]}" for name in wanted if has[name] != wanted[name])


def _open_run(name: str, path: Path) -> Start:
    settings, facts = read_run(path)
    require_finished(path)
    example, model = settings.example, settings.model
    return Start(
        name=name,
        path=path,
        version=exported_version(path, facts),
        motion=MotionSettings(**facts["motion"]),
        synth=example.synth,
        segment_s=example.segment_s,
        lead_s=example.lead_s,
        grid_rate_hz=example.grid_rate_hz,
        n_latent=model.n_latent,
        n_hidden=model.n_hidden,
        n_filters=model.n_filters,
        run=settings,
        learned=learned_by(facts),
        kept_back=frozenset(take["sha256"] for take in facts["data"] or () if take["held_out"] == 1.0),
    )


def learned_by(facts: Mapping[str, object]) -> dict[str, float]:
    """Hash of each take that a run has learned from, it or its start, and how much of its end it never saw."""
    start, data = facts.get("start"), facts.get("data")
    learned = dict(start["learned"]) if isinstance(start, dict) else {}
    for take in data if isinstance(data, list) else ():
        if take["held_out"] < 1.0:
            learned[take["sha256"]] = min(take["held_out"], learned.get(take["sha256"], 1.0))
    return learned


def _open_bundle(name: str, path: Path) -> Start:
    files = read_bundle(path)
    manifest, layers = files.manifest, read_layers(files.models["f16"])
    dense = [layer for layer in layers if layer.kernel.ndim == 2]
    return Start(
        name=name,
        path=path,
        version=manifest.version,
        motion=manifest.motion,
        synth=manifest.synth,
        segment_s=manifest.segment_s,
        lead_s=manifest.lead_s,
        grid_rate_hz=manifest.grid_rate_hz,
        n_latent=manifest.n_latent,
        n_hidden=int(dense[-1].kernel.shape[0]),
        n_filters=int(layers[0].kernel.shape[-1]),
        run=None,
        learned={},
    )


def _load_bundle(path: Path, model: DanceVAE) -> None:
    """Put the layers of a bundle where they belong, and make sure that they sound as the bundle does."""
    files = read_bundle(path)
    layers = read_layers(files.models["f16"])
    # The deviation is a sigmoid; it runs before the mean or after it, and both look at the same.
    found = sorted(layers, key=lambda layer: layer.is_sigmoid)
    mean, deviation = sorted(_with_weights(model.motion_head), key=lambda layer: layer.name != "mean")
    wanted = [*_with_weights(model.motion_trunk), mean, *_with_weights(model.sound_decoder), deviation]
    if [layer.kernel.shape for layer in found] != [tuple(each.kernel.shape) for each in wanted]:
        raise BundleError(f"{path} holds another network than this program trains: start from a run, or from nothing")
    for layer, each in zip(found, wanted, strict=True):
        each.set_weights([layer.kernel, layer.bias])
    golden = files.manifest.golden
    inputs = (golden.motion, golden.noise, golden.position[:, np.newaxis])
    expected, tolerance = golden.expected("f16", "tflite-runtime")
    error = largest_error(np.asarray(model.predict_on_batch(inputs)), expected)
    if not error <= tolerance:
        raise BundleError(f"the weights of {path} do not make its sound: start from a run, or from nothing")


def _with_weights(part: Any) -> list[Any]:
    return [layer for layer in part.layers if layer.weights]
