"""A training that begins with what another run, a bundle or the factory's has learned."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.core.errors import BundleError
from device.core.motiongram import MotionSettings
from device.models.bundles import FACTORY, read_manifest
from tests.tiny_runs import declined, make_takes, tone, trained, write_take
from trainer.exporting.tflite_weights import Layer, read_layers
from trainer.learning import warm_start
from trainer.learning.warm_start import open_start
from trainer.reporting.curves import read_curves
from trainer.runs.folder import exported_version, next_version, note_export
from trainer.settings import ModelSettings

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_takes(tmp_path_factory.mktemp("takes"))


@pytest.fixture(scope="module")
def first(takes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with settings that are nobody's default."""
    run = tmp_path_factory.mktemp("runs") / "first"
    trained(takes, run, "--segment-s", "0.3", "--latents", "12", "--held-out", "0.3", "--loudness", "music")
    return run


@pytest.fixture(scope="module")
def second(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that began with the first, on a take more."""
    more, run = make_takes(tmp_path_factory.mktemp("more"), 3), tmp_path_factory.mktemp("runs") / "second"
    trained(more, run, "--from", first)
    return run


def facts_of(run: Path) -> Any:
    return json.loads((run / "run.json").read_text())


def held_out_errors(run: Path) -> Any:
    """After each epoch of four steps."""
    return read_curves(run)["held_out/sound"].values


def test_a_run_begins_where_another_ended_and_with_its_settings(first: Path, second: Path) -> None:
    assert facts_of(second)["settings"] == facts_of(first)["settings"]
    assert facts_of(second)["start"]["from"] == str(first.resolve())
    began, ended = held_out_errors(first)[[0, -1]]
    assert held_out_errors(second)[0] < (began + ended) / 2


def test_what_was_held_out_is_held_out_again_and_new_takes_in_part(first: Path, second: Path) -> None:
    data, before = facts_of(second)["data"], facts_of(first)["data"]
    assert [take["held_out"] for take in data] == [0.3, 0.3, 0.3]
    assert [take["sha256"] for take in data[:2]] == [take["sha256"] for take in before]


def test_what_the_run_before_the_one_before_has_learned_is_not_held_out(
    takes: Path, second: Path, tmp_path: Path
) -> None:
    """The second began with the first and learned nothing of these takes itself."""
    facts = facts_of(second)
    run = tmp_path / "second"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({**facts, "data": facts["data"][2:]}))
    (run / "model.weights.h5").touch()
    words = ("train", "--takes", takes, "--run", tmp_path / "third", "--from", run)
    declined(2, "has learned from it", *words, "--held-out", 0.5)


def test_a_bundle_has_a_higher_version_than_those_of_the_run_it_began_with(first: Path, tmp_path: Path) -> None:
    """Whatever the clock says: it was years ahead when the first was exported."""
    ahead, run = 4_000_000_000, tmp_path / "first"
    shutil.copytree(first, run)
    assert exported_version(run, facts_of(run)) == 0
    note_export(run, tmp_path / "bundle", ahead)
    begun = {"start": open_start(str(run)).facts()}
    assert next_version(tmp_path, begun) == ahead + 1
    note_export(tmp_path, tmp_path / "bundle", ahead + 1)
    assert next_version(tmp_path, begun) == ahead + 2
    assert abs(next_version(tmp_path / "other", {"start": None}) - time.time()) < 60


def test_a_run_begins_with_the_factorys_bundle(takes: Path, tmp_path: Path) -> None:
    trained(takes, tmp_path / "run", "--from", "factory", "--minutes", 0.001)
    facts, factory = facts_of(tmp_path / "run"), read_manifest(FACTORY)
    assert facts["start"]["version"] == factory.version
    assert facts["settings"]["example"]["lead_s"] == factory.lead_s
    assert facts["settings"]["model"]["n_hidden"] == 256, "as wide as the factory's, not as the preset"


def test_the_factorys_network_makes_the_factorys_sound() -> None:
    from trainer.learning.model import DanceVAE

    start, golden = open_start("factory"), read_manifest(FACTORY).golden
    widths = {"n_latent": start.n_latent, "n_hidden": start.n_hidden, "n_filters": start.n_filters}
    model = DanceVAE(ModelSettings(25, start.motion.n_features, start.synth.n_bins, start.motion.height, **widths))
    start.load_into(model)
    played = np.asarray(model.predict_on_batch((golden.motion, golden.noise, golden.position[:, np.newaxis])))
    assert np.abs(played - golden.expected("f16", "tflite-runtime")[0]).max() < 1e-3


def test_weights_in_another_order_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and deviation have one shape: only the sound tells them apart."""
    from trainer.learning.model import DanceVAE

    def swapped(data: bytes) -> list[Layer]:
        return [replace(layer, is_sigmoid=layer.kernel.shape[1] == 32 and not layer.is_sigmoid)
                for layer in read_layers(data)]  # fmt: skip

    start = open_start("factory")
    monkeypatch.setattr(warm_start, "read_layers", swapped)
    with pytest.raises(BundleError, match="do not make its sound"):
        start.load_into(DanceVAE(ModelSettings(25, 112, 1025, 48, start.n_latent)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--segment-s", "0.1"], "--segment-s 0.1 does not fit"),
        (["--latents", "5"], "--latents 5 does not fit"),
        (["--lead-s", "0.2"], "--lead-s 0.2 does not fit"),
        (["--held-out", "0.4"], "has learned from it"),
        (["--held-out-takes", "1"], "has learned from it"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    takes: Path, first: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    declined(2, says, "train", "--takes", takes, "--run", tmp_path / "run", "--from", first, *options)
    assert not (tmp_path / "run").exists()


def test_what_is_nowhere_or_unfinished_is_no_start(takes: Path, first: Path, tmp_path: Path) -> None:
    words = ("train", "--takes", takes, "--run", tmp_path / "run", "--from")
    declined(2, "is no run and no bundle", *words, tmp_path / "nowhere")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_text((first / "run.json").read_text())
    declined(1, "not finished", *words, tmp_path / "cut")


def test_takes_of_another_picture_do_not_fit(tmp_path: Path) -> None:
    times_s = np.arange(400) / 50
    quantity = np.clip(np.sin(times_s), 0, 1)
    settings = MotionSettings(height=24, width=32)
    write_take(tmp_path / "takes", quantity, tone(quantity, times_s), settings=settings)
    words = ("train", "--takes", tmp_path / "takes", "--run", tmp_path / "run", "--from", "factory")
    declined(2, "height 24 not 48", *words)
