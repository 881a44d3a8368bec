from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from device.core.errors import ModelError
from device.edges.model_fake import FakeModel

HEIGHT, WIDTH, N_COLUMNS, N_LATENT = 48, 64, 24, 8
NO_NOISE = np.zeros(N_LATENT, np.float32)


def moving(row: int, level: float) -> npt.NDArray[np.float32]:
    """Motion around one row of the picture, in the newest column only."""
    motion = np.zeros((N_COLUMNS, HEIGHT + WIDTH), np.float32)
    motion[-1, row - 2 : row + 3] = level
    return motion


def pitch_bin(spectrum: npt.NDArray[np.float32]) -> int:
    return int(np.argmax(spectrum))


def test_it_has_the_sizes_it_was_given() -> None:
    model = FakeModel(n_columns=5, height=6, width=8, n_latent=3, n_bins=129)
    spectrum = model.run(np.ones((5, 14), np.float32), np.zeros(3, np.float32), 1.0)
    assert (model.n_columns, model.n_features, model.n_latent, model.n_bins) == (5, 14, 3, 129)
    assert spectrum.shape == (129,)
    assert spectrum.dtype == np.float32


def test_more_motion_is_louder_and_none_is_silent() -> None:
    model = FakeModel()
    peaks = [float(model.run(moving(24, level), NO_NOISE, 1.0).max()) for level in (0.0, 1.0, 5.0, 20.0)]
    assert peaks == sorted(set(peaks))
    assert not model.run(moving(24, 0.0), NO_NOISE, 1.0).any()


def test_motion_higher_in_the_picture_is_higher_in_pitch() -> None:
    model = FakeModel()
    pitches = [pitch_bin(model.run(moving(row, 5.0), NO_NOISE, 1.0)) for row in (40, 24, 8)]
    assert pitches == sorted(set(pitches))


def test_noise_bends_the_pitch() -> None:
    model = FakeModel()
    still = model.run(moving(8, 5.0), NO_NOISE, 1.0).copy()
    assert not np.array_equal(model.run(moving(8, 5.0), NO_NOISE + 1, 1.0), still)


def test_position_chooses_the_column() -> None:
    model = FakeModel()
    assert model.run(moving(24, 5.0), NO_NOISE, 1.0).any()
    assert not model.run(moving(24, 5.0), NO_NOISE, 0.0).any()


def test_it_gives_the_same_array_every_time() -> None:
    model = FakeModel()
    assert model.run(moving(24, 5.0), NO_NOISE, 1.0) is model.run(moving(24, 0.0), NO_NOISE, 1.0)


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelError, match="match its sizes"):
        FakeModel().run(moving(24, 5.0)[1:], NO_NOISE, 1.0)
