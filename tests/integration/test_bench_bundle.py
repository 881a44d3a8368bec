"""The bundle that has learned nothing: by what it plays, the system's own delay can be told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.bundle import MODEL_FILES
from device.core.errors import DanceSamplerError
from device.core.synth import Synth
from device.edges.model_tflite import TfliteModel, installed_runtimes
from device.models.bundles import Bundle, load_bundle
from tests.bench.segment_bundle import BAND_LEVEL, COLUMN_HARMONICS, F0_HZ, ROW_HARMONICS, make_bundle

SEGMENT_S, N_COLUMNS = 0.1, 5
HEIGHT = 48
POWER = 0.3

Float32 = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("direct") / "bundle", SEGMENT_S)


@pytest.fixture(
    params=[(variant, runtime) for variant in MODEL_FILES for runtime in installed_runtimes()], ids="/".join
)
def bundle(request: pytest.FixtureRequest, folder: Path) -> Bundle:
    return load_bundle(folder, *request.param)


def moved(feature: int | slice, grey_levels: float, at: int = -1) -> Float32:
    window = np.zeros((N_COLUMNS, 112), np.float32)
    window[at, feature] = grey_levels
    return window


def play(model: TfliteModel, window: Float32, position: float = 1.0, noise: float = 0.0) -> Float32:
    return model.run(window, np.full(model.n_latent, noise, np.float32), position).copy()


def loudest_hz(spectrum: Float32) -> float:
    return float(spectrum.argmax()) * 48000 / 2048


def test_it_is_a_bundle_of_that_length_and_silent_where_nothing_moves(bundle: Bundle) -> None:
    assert (bundle.manifest.segment_s, bundle.manifest.n_columns, bundle.manifest.n_features) == (0.1, N_COLUMNS, 112)
    for position in (0.0, 0.4, 1.0):
        assert not play(bundle.model, moved(slice(0), 0.0), position, noise=1.0).any()


def test_where_it_moves_is_pitch_and_how_much_is_loudness(bundle: Bundle) -> None:
    model = bundle.model
    assert loudest_hz(play(model, moved(slice(0, 4), 50.0))) == F0_HZ * ROW_HARMONICS[-1]
    assert loudest_hz(play(model, moved(slice(HEIGHT - 4, HEIGHT), 50.0))) == F0_HZ * ROW_HARMONICS[0]
    assert loudest_hz(play(model, moved(slice(HEIGHT, HEIGHT + 4), 50.0))) == F0_HZ * COLUMN_HARMONICS[0]
    assert loudest_hz(play(model, moved(slice(HEIGHT + 60, None), 50.0))) == F0_HZ * COLUMN_HARMONICS[-1]
    levels = [play(model, moved(slice(0, 4), grey)).max() ** (1 / POWER) for grey in (0.5, 2.0, 8.0, 255.0)]
    assert levels == sorted(levels)
    assert 1e-5 < levels[0] < 0.1 * levels[2]
    assert levels[3] == pytest.approx(BAND_LEVEL, rel=0.1)


def test_position_says_which_column_is_heard(bundle: Bundle) -> None:
    for column in range(N_COLUMNS):
        heard = [play(bundle.model, moved(slice(None), 50.0, column), step / 4).max() for step in range(N_COLUMNS)]
        assert [value > 0.01 for value in heard] == [step == column for step in range(N_COLUMNS)]


def test_all_of_it_at_once_is_one_sound_below_full_scale(bundle: Bundle) -> None:
    synth, sound = Synth(bundle.manifest.synth), np.zeros(48000, np.float32)
    synth.set_spectrum(play(bundle.model, moved(slice(None), 255.0)))
    synth.fill(sound)
    late = sound[4096:]
    assert 0.05 < np.sqrt(np.square(late).mean()) < np.abs(late).max() < 1.0
    n_samples = 32768  # whole periods of the tone
    power = np.abs(np.fft.rfft(late[:n_samples])) ** 2
    step = round(F0_HZ * n_samples / 48000)
    assert power[::step].sum() > 0.99 * power.sum()


def test_what_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DanceSamplerError, match=r"bundle of 9 s was not made \(.*segment_s") as caught:
        make_bundle(tmp_path / "bundle", 9.0)
    assert "\n" not in str(caught.value)
