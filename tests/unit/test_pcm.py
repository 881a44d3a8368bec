from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from device.core.pcm import PcmEncoder, SampleFormat


def decoded(encoder: PcmEncoder, n_bits: int, block: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """First channel of what was encoded, as plain numbers."""
    raw = np.frombuffer(encoder.encode(block), np.uint8).reshape(len(block), -1)
    n_bytes = encoder.frame_bytes
    values = raw[:, :n_bytes].astype(np.int64) @ 256 ** np.arange(n_bytes)
    values &= 2**n_bits - 1
    return np.where(values >= 2 ** (n_bits - 1), values - 2**n_bits, values)


@pytest.mark.parametrize(("sample_format", "n_bits"), [("int16", 16), ("int24", 24), ("int24in32", 24), ("int32", 32)])
def test_every_16_bit_step_comes_out_as_it_went_in(sample_format: SampleFormat, n_bits: int) -> None:
    steps = np.arange(-(2**15), 2**15)
    encoder = PcmEncoder(sample_format, n_channels=1, n_max=len(steps))
    values = decoded(encoder, n_bits, (steps / 2**15).astype(np.float32))
    np.testing.assert_array_equal(values, steps << (n_bits - 16))


@pytest.mark.parametrize(("sample_format", "n_bits"), [("int16", 16), ("int24", 24), ("int24in32", 24), ("int32", 32)])
def test_too_loud_is_clipped_and_nan_is_silence(sample_format: SampleFormat, n_bits: int) -> None:
    encoder = PcmEncoder(sample_format, n_channels=1, n_max=8)
    block = np.array([1.0, 1.5, np.inf, -1.0, -1.5, -np.inf, np.nan, 0.0], np.float32)
    top, bottom = 2 ** (n_bits - 1) - 1, -(2 ** (n_bits - 1))
    assert decoded(encoder, n_bits, block).tolist() == [top, top, top, bottom, bottom, bottom, 0, 0]


def test_float_is_clipped_and_nan_is_silence() -> None:
    encoder = PcmEncoder("float32", n_channels=1, n_max=4)
    block = np.array([0.3, 2.0, -np.inf, np.nan], np.float32)
    assert np.frombuffer(encoder.encode(block), np.float32).tolist() == [np.float32(0.3), 1.0, -1.0, 0.0]


@pytest.mark.parametrize("sample_format", ["int16", "int24", "int24in32", "int32", "float32"])
def test_all_channels_are_alike_and_a_short_block_leaves_nothing_of_a_long_one(sample_format: SampleFormat) -> None:
    encoder = PcmEncoder(sample_format, n_channels=3, n_max=100)
    encoder.encode(np.ones(100, np.float32))
    data = encoder.encode(np.linspace(-0.5, 0.5, 10, dtype=np.float32))
    assert len(data) == 10 * encoder.frame_bytes
    samples = np.frombuffer(data, np.uint8).reshape(10, 3, -1)
    assert (samples == samples[:, :1]).all()
    assert len(np.unique(samples[:, 0], axis=0)) == 10


def test_block_is_left_as_it_was() -> None:
    block = np.array([np.nan, 3.0], np.float32)
    PcmEncoder("int16", n_channels=2, n_max=2).encode(block)
    assert np.isnan(block[0])
    assert block[1] == 3.0
