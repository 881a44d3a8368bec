"""What training asks of the model: the score of draws, the weight of soft sounds, moments of where motion lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from device.edges.model_tflite import preload

Float32 = npt.NDArray[np.float32]

N_ROWS, N_ACROSS, N_BINS = 48, 64, 1025


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    """The module, imported when a test wants it: TensorFlow takes seconds."""
    preload()
    import trainer.learning.model

    yield trainer.learning.model  # noqa: PT022 - it is typed as what it gives


def test_the_score_is_least_for_draws_spread_as_reality_is(model: Any) -> None:
    rng = np.random.default_rng(0)
    real, *draws = rng.standard_normal((3, 200, 500)).astype(np.float32)
    scores = {spread: float(model.fair_score(*(spread * draw for draw in draws), real)) for spread in (0, 0.5, 1, 1.5)}
    assert min(scores, key=lambda spread: scores[spread]) == 1
    # The score of the true distribution is 1 / sqrt(pi) of its deviation (Gneiting and Raftery, 2007).
    assert scores[1] == pytest.approx(1 / np.sqrt(np.pi), rel=0.02)
    assert float(model.fair_score(*(draw + 1.0 for draw in draws), real)) > scores[1] + 0.1


def test_soft_sounds_count_for_more_than_their_share(model: Any) -> None:
    loud = np.random.default_rng(0).uniform(0, 1, (1, N_BINS)).astype(np.float32)
    spectra = np.concatenate([loud, 0.1 * loud, 0.0 * loud])
    variance = float(np.square(loud).mean() / 2)
    equal = np.asarray(model.softness_weight(spectra, variance, 0.0))
    assert equal == pytest.approx(1.0)
    weight = np.asarray(model.softness_weight(spectra, variance, 0.5))[:, 0]
    # A hundredth of the power: the floor of 0.02 leaves the root of (1.02 / 0.03).
    assert weight[1] / weight[0] == pytest.approx(np.sqrt(1.02 / 0.03), rel=1e-3)
    power = np.square(spectra).mean(axis=1)
    assert (weight * power).mean() == pytest.approx(power.mean(), rel=1e-3)
    # Takes in which hardly anybody moves give batches in which nothing sounds.
    assert np.isfinite(np.asarray(model.softness_weight(np.zeros_like(spectra), variance, 0.5))).all()


def test_bands_are_means_of_neighbouring_bins(model: Any) -> None:
    spectra = np.random.default_rng(0).uniform(0, 1, (3, N_BINS)).astype(np.float32)
    fine, middle, coarse = (np.asarray(each) for each in model.bands_of(spectra))
    assert (fine.shape, middle.shape, coarse.shape) == ((3, 176), (3, 44), (3, 11))
    assert fine[:, :64] == pytest.approx(spectra[:, 1:65])  # up to 1.5 kHz semitones are told apart
    assert fine[:, 64] == pytest.approx(spectra[:, 65:69].mean(axis=1))
    assert fine[:, 112] == pytest.approx(spectra[:, 257:265].mean(axis=1))
    assert fine[:, 175] == pytest.approx(spectra[:, 1009:].mean(axis=1))
    assert middle == pytest.approx(fine.reshape(3, 44, 4).mean(axis=2))
    assert coarse == pytest.approx(middle.reshape(3, 11, 4).mean(axis=2))


def test_draws_that_differ_in_loudness_only_are_apart(model: Any) -> None:
    spectrum = np.random.default_rng(0).uniform(0, 1, (5, N_BINS)).astype(np.float32)
    turned = spectrum[:, ::-1].copy()  # another sound, as loud
    assert float(model.loudness_apart([spectrum, turned, spectrum])) == pytest.approx(0.0, abs=1e-9)
    louder = 1.2 * spectrum
    level = float((spectrum.astype(np.float64) ** 6).mean() ** (1 / 6))
    assert float(model.loudness_apart([spectrum, louder])) == pytest.approx((0.1 * level) ** 2, rel=0.02)
    silence = np.zeros((5, N_BINS), np.float32)
    assert float(model.loudness_apart([silence, silence])) == pytest.approx(0.0, abs=1e-12)


def motion(row: float, across: float, widen: float = 2.0) -> Float32:
    """One blob of motion in the picture, as its column: shape (1, 1, 112); mean 1."""
    rows = np.exp(-(((np.arange(N_ROWS) - row) / widen) ** 2))
    columns = np.exp(-(((np.arange(N_ACROSS) - across) / widen) ** 2))
    column = np.concatenate([rows / rows.mean(), columns / columns.mean()])
    windows: Float32 = column[np.newaxis, np.newaxis].astype(np.float32)
    return windows


def moments(model: Any, share: Float32) -> npt.NDArray[np.float64]:
    return np.array([float(np.asarray(each)[0, 0, 0]) for each in model.place_moments(share, N_ROWS)])


def test_moments_say_where_motion_is_and_how_widely(model: Any) -> None:
    middle = moments(model, motion(23.5, 31.5))
    assert middle[[0, 2]] == pytest.approx(0.0, abs=1e-3)
    low, left = moments(model, motion(40, 31.5)), moments(model, motion(23.5, 10))
    assert low[0] > middle[0] + 0.5
    assert low[2:] == pytest.approx(middle[2:], abs=1e-3)
    assert left[2] < middle[2] - 0.5
    assert left[:2] == pytest.approx(middle[:2], abs=1e-3)
    wide = moments(model, motion(23.5, 31.5, widen=12.0))
    assert (wide[[1, 3]] > 3 * middle[[1, 3]]).all()
