from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from device.core.bundle import MODEL_FILES
from device.core.errors import ModelError
from device.edges import model_tflite
from device.edges.model_tflite import RUNTIMES, TfliteModel, installed_runtimes
from tests.tiny_model import N_BINS, N_COLUMNS, N_FEATURES, N_LATENT, TOLERANCE, Float32, TinyModel

FILES = [(variant, runtime) for variant in MODEL_FILES for runtime in installed_runtimes()]


def load(tiny_model: TinyModel, variant: str, runtime: str) -> TfliteModel:
    return TfliteModel(tiny_model.files[MODEL_FILES[variant]], runtime, variant)


def play(model: TfliteModel, tiny_model: TinyModel) -> Float32:
    examples = zip(tiny_model.motion, tiny_model.noise, tiny_model.position, strict=True)
    return np.stack([model.run(motion, noise, float(position)).copy() for motion, noise, position in examples])


def test_a_runtime_is_installed() -> None:
    assert installed_runtimes()
    assert set(installed_runtimes()) <= set(RUNTIMES)


@pytest.mark.parametrize(("variant", "runtime"), FILES)
def test_it_gives_what_keras_gave(tiny_model: TinyModel, variant: str, runtime: str) -> None:
    model = load(tiny_model, variant, runtime)
    assert (model.n_columns, model.n_features, model.n_latent, model.n_bins) == (
        N_COLUMNS,
        N_FEATURES,
        N_LATENT,
        N_BINS,
    )
    assert (model.variant, model.runtime) == (variant, runtime)
    spectra = play(model, tiny_model)
    assert spectra.dtype == np.float32
    np.testing.assert_allclose(spectra, tiny_model.spectra, atol=TOLERANCE[variant])


@pytest.mark.parametrize("variant", list(MODEL_FILES))
def test_runtimes_agree(tiny_model: TinyModel, variant: str) -> None:
    first, *others = [play(load(tiny_model, variant, runtime), tiny_model) for runtime in installed_runtimes()]
    for other in others:
        np.testing.assert_allclose(other, first, atol=TOLERANCE[variant] / 2)


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_every_input_arrives(tiny_model: TinyModel, runtime: str) -> None:
    model = load(tiny_model, "f16", runtime)
    motion, noise = tiny_model.motion[0], np.zeros(N_LATENT, np.float32)
    mean = model.run(motion, noise, 1.0).copy()
    np.testing.assert_array_equal(model.run(motion, noise, 1.0), mean)
    for changed in ((motion * 2, noise, 1.0), (motion, noise + 1, 1.0), (motion, noise, 0.0)):
        assert np.abs(model.run(*changed) - mean).max() > 0.01


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_it_does_not_grow(tiny_model: TinyModel, runtime: str) -> None:
    model = load(tiny_model, "int8", runtime)
    motion, noise = tiny_model.motion[0], tiny_model.noise[0]
    spectrum = model.run(motion, noise, 1.0)

    def resident_pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    for _ in range(1000):
        model.run(motion, noise, 1.0)
    before = resident_pages()
    for _ in range(20_000):
        assert model.run(motion, noise, 1.0) is spectrum
    assert resident_pages() - before < 64


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_it_starts_no_thread_and_says_nothing(
    tiny_model: TinyModel, runtime: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def n_threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    before = n_threads()
    model = load(tiny_model, "f16", runtime)
    play(model, tiny_model)
    assert n_threads() == before
    assert capfd.readouterr() == ("", "")


def test_what_others_say_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with model_tflite._runtime_messages_to_log():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nthe camera is back\n")
    assert capfd.readouterr().err == "the camera is back\n"


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_inputs_of_another_shape_are_refused(tiny_model: TinyModel, runtime: str) -> None:
    model = load(tiny_model, "f16", runtime)
    motion, noise = tiny_model.motion[0], tiny_model.noise[0]
    for wrong_motion, wrong_noise in ((motion[1:], noise), (motion[0], noise), (motion, noise[:1])):
        with pytest.raises(ModelError, match="of its own bundle"):
            model.run(wrong_motion, wrong_noise, 1.0)


@pytest.mark.parametrize("runtime", installed_runtimes())
@pytest.mark.parametrize("name", ["motion", "noise", "position"])
def test_a_model_with_other_inputs_is_refused(tiny_model: TinyModel, runtime: str, name: str) -> None:
    data = tiny_model.files["model.f16.tflite"].replace(f"_{name}:0".encode(), b"_" + b"x" * len(name) + b":0")
    with pytest.raises(ModelError, match=f"no usable input '{name}'"):
        TfliteModel(data, runtime, "f16")


def damaged(data: bytes) -> list[bytes]:
    rng = np.random.default_rng(3)
    garbage = [rng.bytes(4) + b"TFL3" + rng.bytes(5000) for _ in range(50)]
    cut = [data[:length] for length in rng.integers(0, len(data), 50)]
    return [b"", b"not a model\n", data[:8] + bytes(len(data) - 8), *garbage, *cut]


@pytest.mark.parametrize("runtime", installed_runtimes())
@pytest.mark.parametrize("variant", list(MODEL_FILES))
def test_garbage_is_refused_in_one_line(tiny_model: TinyModel, runtime: str, variant: str) -> None:
    for data in damaged(tiny_model.files[MODEL_FILES[variant]]):
        with pytest.raises(ModelError, match="export the bundle again") as caught:
            TfliteModel(data, runtime, variant)
        assert "\n" not in str(caught.value)


def test_a_runtime_that_is_not_there_is_named(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="no runtime called 'onnx'"):
        load(tiny_model, "f16", "onnx")
    monkeypatch.setitem(RUNTIMES, "ai-edge-litert", "no_such_module")
    with pytest.raises(ModelError, match="ai-edge-litert is not installed: install it with"):
        load(tiny_model, "f16", "ai-edge-litert")
