from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from device.core.bundle import (
    MAX_MANIFEST_BYTES,
    MODEL_FILES,
    FileEntry,
    Manifest,
    build_manifest,
    describe_files,
    parse_manifest,
)
from device.core.errors import BundleError
from device.core.golden import Golden, largest_error, make_golden
from device.core.strict_json import canonical_json
from device.core.synth import SynthSettings
from tests.tiny_model import N_BINS, N_COLUMNS, N_FEATURES, N_LATENT, tiny_manifest

N_EXAMPLES = 2


@pytest.fixture
def golden() -> Golden:
    rng = np.random.default_rng(0)
    inputs = [
        (rng.random((N_COLUMNS, N_FEATURES)), rng.standard_normal(N_LATENT), float(rng.random()))
        for _ in range(N_EXAMPLES)
    ]
    spectra = rng.random((N_EXAMPLES, N_BINS), dtype=np.float32)
    return make_golden(inputs, {"f16/tflite-runtime": spectra, "int8/ai-edge-litert": spectra + 0.5}, 0.01)


@pytest.fixture
def manifest(golden: Golden) -> Manifest:
    return replace(tiny_manifest(golden), files=describe_files(dict.fromkeys(MODEL_FILES.values(), b"model")))


@pytest.fixture
def document(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON, to be spoiled; `resealed` gives it a sha256 that fits."""
    loaded: dict[str, Any] = json.loads(build_manifest(manifest))
    return loaded


def resealed(document: dict[str, Any]) -> bytes:
    document.pop("sha256", None)
    document["sha256"] = hashlib.sha256(canonical_json(document)).hexdigest()
    return canonical_json(document)


def assert_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        parse_manifest(data)
    assert "\n" not in str(caught.value)


def test_what_is_built_is_parsed_to_the_same(manifest: Manifest) -> None:
    parsed = parse_manifest(build_manifest(manifest))
    assert replace(parsed, golden=manifest.golden).__dict__ == manifest.__dict__
    for name in ("motion", "noise", "position"):
        np.testing.assert_array_equal(getattr(parsed.golden, name), getattr(manifest.golden, name))
    for key, spectra in manifest.golden.outputs.items():
        np.testing.assert_array_equal(parsed.golden.outputs[key], spectra)
    assert parsed.golden.tolerance == manifest.golden.tolerance
    assert build_manifest(parsed) == build_manifest(manifest)


def test_sizes_follow_from_the_settings(manifest: Manifest) -> None:
    assert (manifest.n_features, manifest.n_bins) == (N_FEATURES, N_BINS)


def test_no_byte_can_be_changed(manifest: Manifest) -> None:
    data = build_manifest(manifest)
    rng = np.random.default_rng(1)
    for _ in range(200):
        spoiled = bytearray(data)
        spoiled[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        with pytest.raises(BundleError):
            parse_manifest(bytes(spoiled))
    for length in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(BundleError):
            parse_manifest(data[:length])
    with pytest.raises(BundleError):
        parse_manifest(data + b"\n")


def test_a_newer_format_asks_for_an_update_whatever_else_it_holds() -> None:
    assert_refused(b'{"format_version": 2, "something": "new"}', "newer than this program's 1: update the box")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"format_version": 1, "format_version": 1}', "twice"),
        (b'{"format_version": NaN}', "NaN"),
        (b'{"format_version": -Infinity}', "Infinity"),
        (b'{"format_version": 1, "a": 1e999}', "changed"),
        (b'{"format_version": true}', "format version"),
        (b'{"format_version": 0}', "format version"),
        (b"{}", "format version"),
        (b'{"a":' + b"[" * 1_000_000, "not JSON"),
        (b'{"a":' * 500_000, "not JSON"),
        (b'{"format_version": 1, "a": ' + b"9" * 10_000 + b"}", "not JSON|changed"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "larger than 4 MiB"),
    ],
    ids=lambda value: None if isinstance(value, str) else value[:24].decode("latin-1"),
)
def test_hostile_json_is_refused(data: bytes, message: str) -> None:
    assert_refused(data, message)


SPOILED: list[tuple[str, Any, str]] = [
    ("name", "../box", "name"),
    ("name", "a\nb", "name"),
    ("name", 3, "name"),
    ("version", 0, "version"),
    ("version", 1.5, "version"),
    ("version", True, "version"),
    ("rate_hz", 44100, "synth's 16000 Hz"),
    ("rate_hz", 10**400, "rate_hz"),
    ("grid_rate_hz", "50", "grid_rate_hz"),
    ("grid_rate_hz", 25.0, "not a window of"),
    ("motion.height", 7, "shapes"),
    ("motion.height", 6.0, "motion.height"),
    ("motion.filter", "sobel", "sobel"),
    ("motion.filter", 1, "motion.filter"),
    ("motion.threshold", True, "motion.threshold"),
    ("motion.threshold", 1.0, "threshold"),
    ("motion.extra", 1, "unknown 'extra'"),
    ("motion", [], "not an object"),
    ("synth.n_fft", 300, "power of two"),
    ("synth.n_fft", 512, "shapes"),
    ("synth.power", -1.0, "synth.power"),
    ("segment_s", 3.0, "segment_s"),
    ("lead_s", 2.0, "lead_s"),
    ("n_latent", 4, "shapes"),
    ("n_columns", 11, "shapes"),
    ("n_columns", 50, "shapes|window"),
    ("temperature", -0.1, "temperature"),
    ("temperature", None, "temperature"),
    ("figures", [1], "figures"),
    ("figures.note", ["a"], "note"),
    ("figures.note", "a\nb", "note"),
    ("figures.deep", {"a": {"b": {"c": {"d": 1}}}}, "figures"),
    ("files", {}, "missing"),
    ("files.../../etc/passwd", {"sha256": "0" * 64, "size": 1}, "unknown '../../etc/passwd'"),
    ("files.model.f32.tflite", {"sha256": "0" * 64, "size": 1}, "unknown 'model.f32.tflite'"),
    ("golden.inputs", [], "no golden example"),
    ("golden.inputs", {}, "not a list"),
    ("golden.inputs", ["a"], "not an object"),
    ("golden.outputs", {}, "no golden example"),
    ("golden.outputs", [], "not an object"),
    ("golden.outputs", {"f16/a": {"spectra": [], "tolerance": 1.0}}, "do not fit"),
    ("golden.outputs", {"f16/a": {"spectra": ["AAAA"], "tolerance": 1.0}}, "shapes"),
    ("golden.outputs", {"f16/a": {"spectra": ["!"], "tolerance": 1.0}}, "shapes"),
    ("golden.outputs", {"f16/a": {"spectra": [5], "tolerance": 1.0}}, "shapes"),
    ("signed", 1, "signed"),
    ("extra", 1, "unknown 'extra'"),
]


@pytest.mark.parametrize(
    ("key", "value", "message"), SPOILED, ids=[f"{key}={value!r}"[:50] for key, value, _ in SPOILED]
)
def test_a_manifest_that_makes_no_sense_is_refused(
    document: dict[str, Any], key: str, value: Any, message: str
) -> None:
    section, _, rest = key.partition(".")
    if rest:
        document[section][rest] = value
    else:
        document[section] = value
    assert_refused(resealed(document), message)


@pytest.mark.parametrize("key", ["name", "motion", "golden", "files", "signed", "temperature"])
def test_a_missing_key_is_named(document: dict[str, Any], key: str) -> None:
    del document[key]
    assert_refused(resealed(document), f"'{key}' is missing")


@pytest.mark.parametrize(
    "entry", [{"sha256": "0" * 63, "size": 1}, {"sha256": 5, "size": 1}, {"sha256": "A" * 64, "size": 1}]
)
def test_a_hash_that_is_none_is_refused(document: dict[str, Any], entry: dict[str, Any]) -> None:
    document["files"]["model.f16.tflite"] = entry
    assert_refused(resealed(document), "sha256")


def test_what_cannot_be_parsed_is_not_built(manifest: Manifest) -> None:
    with pytest.raises(BundleError, match="finite"):
        build_manifest(replace(manifest, figures={"loudness": float("nan")}))
    with pytest.raises(BundleError, match="synth's"):
        build_manifest(replace(manifest, synth=SynthSettings(rate_hz=48000, n_fft=256, hop=32)))
    with pytest.raises(BundleError, match="size"):
        build_manifest(replace(manifest, files=dict.fromkeys(MODEL_FILES.values(), FileEntry("0" * 64, 1 << 30))))


def test_golden_of_both_variants_is_needed(manifest: Manifest, golden: Golden) -> None:
    one = replace(golden, outputs={"f16/tflite-runtime": golden.outputs["f16/tflite-runtime"]})
    with pytest.raises(BundleError, match="not those of the bundle's model files"):
        build_manifest(replace(manifest, golden=one))


def test_a_variant_without_outputs_on_this_runtime_is_held_to_another(golden: Golden) -> None:
    np.testing.assert_array_equal(golden.expected("f16", "ai-edge-litert")[0], golden.outputs["f16/tflite-runtime"])
    with pytest.raises(BundleError, match="no golden outputs"):
        golden.expected("f32", "tflite-runtime")


def test_golden_examples_that_do_not_fit_are_refused() -> None:
    window, noise, spectra = np.ones((N_COLUMNS, N_FEATURES)), np.ones(N_LATENT), np.ones((1, N_BINS))
    with pytest.raises(BundleError, match="do not fit together"):
        make_golden([], {"f16/a": spectra}, 0.1)
    with pytest.raises(BundleError, match="do not fit"):
        make_golden([(window, noise, 1.0)] * 2, {"f16/a": spectra}, 0.1)
    with pytest.raises(BundleError, match="do not fit"):
        make_golden([(window, noise, 1.0), (window[1:], noise, 1.0)], {"f16/a": spectra}, 0.1)
    with pytest.raises(BundleError, match="usable number"):
        make_golden([(window * np.nan, noise, 1.0)], {"f16/a": spectra}, 0.1)
    with pytest.raises(BundleError, match="usable number"):
        make_golden([(window, noise, 1.0)], {"f16/a": spectra}, float("inf"))


def test_the_largest_error_of_something_odd_is_infinite() -> None:
    expected = np.zeros((1, 3), np.float32)
    assert largest_error(np.array([[0, -0.5, 0.25]], np.float32), expected) == 0.5
    assert largest_error(np.array([[0, np.nan, 0]], np.float32), expected) == float("inf")
    assert largest_error(np.array([[0, np.inf, 0]], np.float32), expected) == float("inf")
    assert largest_error(np.zeros((1, 4), np.float32), expected) == float("inf")
