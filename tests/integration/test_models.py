from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.__main__ import COMMANDS
from device.cli import run
from device.commands import models as models_command
from device.core.bundle import MANIFEST, MODEL_FILES, SIGNATURE, build_manifest, parse_manifest
from device.core.errors import BundleError, DanceSamplerError, ModelError
from device.core.golden import make_golden
from device.edges.model_fake import FakeModel
from device.edges.model_tflite import installed_runtimes
from device.models import bundles as models
from device.models import signature
from device.models.bundles import check_golden, load_bundle, read_bundle, sign, write_bundle
from tests.tiny_model import N_LATENT, TinyModel, tiny_manifest

Spoil = Callable[[Path], Any]


@pytest.fixture
def bundle(tmp_path: Path, tiny_model: TinyModel) -> Path:
    path = tmp_path / "bundle"
    write_bundle(path, tiny_manifest(tiny_model.golden()), tiny_model.files)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two keys, `owner` and `stranger`, and `allowed`, which lists the owner."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("owner", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (folder / "allowed").write_text("owner@studio " + (folder / "owner.pub").read_text())
    return folder


@pytest.fixture
def signed(bundle: Path, keys: Path) -> Path:
    sign(bundle, keys / "owner")
    return bundle


def assert_refused(path: Path, message: str, **options: Any) -> None:
    with pytest.raises(DanceSamplerError, match=message) as caught:
        load_bundle(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize("runtime", installed_runtimes())
@pytest.mark.parametrize("variant", list(MODEL_FILES))
def test_what_is_written_loads_and_plays(bundle: Path, tiny_model: TinyModel, variant: str, runtime: str) -> None:
    loaded = load_bundle(bundle, variant, runtime)
    assert (loaded.model.variant, loaded.model.runtime) == (variant, runtime)
    assert loaded.golden_error <= loaded.manifest.golden.expected(variant, runtime)[1]
    spectrum = loaded.model.run(tiny_model.motion[5], tiny_model.noise[5], float(tiny_model.position[5]))
    np.testing.assert_allclose(spectrum, tiny_model.spectra[5], atol=0.06)


def test_auto_is_the_preferred_runtime_that_is_installed(bundle: Path) -> None:
    assert load_bundle(bundle).model.runtime == installed_runtimes()[0]


def test_no_runtime_at_all_is_explained(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "installed_runtimes", list)
    with pytest.raises(ModelError, match="no TFLite runtime is installed"):
        load_bundle(bundle)


def test_an_unknown_variant_is_named(bundle: Path) -> None:
    with pytest.raises(ModelError, match="no variant called 'f32': choose from f16, int8"):
        load_bundle(bundle, "f32")


def link_to_a_copy(path: Path) -> None:
    file = path / "model.f16.tflite"
    file.rename(path.parent / "elsewhere")
    file.symlink_to(path.parent / "elsewhere")


def grow_manifest(path: Path) -> None:
    with (path / MANIFEST).open("r+b") as file:
        file.truncate(1 << 30)


def folder_for_model(path: Path) -> None:
    (path / "model.f16.tflite").unlink()
    (path / "model.f16.tflite").mkdir()


def pipe_for_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()
    os.mkfifo(path / MANIFEST)


def newer(path: Path) -> None:
    document = json.loads((path / MANIFEST).read_bytes())
    (path / MANIFEST).write_text(json.dumps({**document, "format_version": 2}))


def swap_models(path: Path) -> None:
    first, second = (path / name for name in MODEL_FILES.values())
    first.rename(path / "x")
    second.rename(first)
    (path / "x").rename(second)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / MANIFEST).unlink(), "manifest.json is missing"),
        (lambda path: (path / "model.f16.tflite").unlink(), "model.f16.tflite is missing"),
        (lambda path: (path / "model.int8.tflite").unlink(), "model.int8.tflite is missing"),
        (lambda path: (path / "notes.txt").touch(), "'notes.txt' does not belong"),
        (lambda path: (path / ".DS_Store").touch(), "'.DS_Store' does not belong"),
        (lambda path: (path / "more").mkdir(), "'more' does not belong"),
        (lambda path: (path / SIGNATURE).touch(), "damaged"),
        (lambda path: os.truncate(path / "model.int8.tflite", 100), "has 100 bytes, not"),
        (lambda path: os.truncate(path / "model.f16.tflite", 1 << 40), "larger than"),
        (lambda path: os.truncate(path / MANIFEST, 100), "not JSON"),
        (link_to_a_copy, "model.f16.tflite is a link"),
        (folder_for_model, "model.f16.tflite is a link or folder"),
        (pipe_for_manifest, "manifest.json is a link or folder"),
        (grow_manifest, "manifest.json is larger than 4096 KiB"),
        (newer, "newer than this program's 1: update the box"),
        (swap_models, "has .* bytes, not"),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused(bundle: Path, spoil: Spoil, message: str) -> None:
    spoil(bundle)
    tracemalloc.start()
    assert_refused(bundle, message)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 << 20


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", "no folder that can be read")
    assert_refused(tmp_path, "manifest.json is missing")
    (tmp_path / "file").touch()
    assert_refused(tmp_path / "file", "no folder that can be read")


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE, *MODEL_FILES.values()])
def test_no_changed_byte_is_accepted_and_no_model_loaded(
    signed: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bytes] = []
    monkeypatch.setattr(models, "TfliteModel", lambda data, *_: loaded.append(data))
    data = (signed / name).read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(200):
        spoiled = bytearray(data)
        spoiled[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        (signed / name).write_bytes(spoiled)
        assert_refused(signed, "send the bundle again")
    for length in (0, 1, len(data) // 2, len(data) - 1):
        (signed / name).write_bytes(data[:length])
        assert_refused(signed, "again")
    assert not loaded


def test_a_model_of_other_shapes_is_refused(tmp_path: Path, tiny_model: TinyModel) -> None:
    one_more = dataclasses.replace(tiny_model, noise=np.pad(tiny_model.noise, ((0, 0), (0, 1))))
    manifest = dataclasses.replace(tiny_manifest(one_more.golden()), n_latent=N_LATENT + 1)
    write_bundle(tmp_path / "bundle", manifest, tiny_model.files)
    assert_refused(tmp_path / "bundle", r"\(10, 14, 3, 129\) but manifest.json says \(10, 14, 4, 129\)")


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_garbage_with_the_right_hash_is_refused(tmp_path: Path, tiny_model: TinyModel, runtime: str) -> None:
    garbage = b"\x20\0\0\0TFL3" + np.random.default_rng(5).bytes(5000)
    for files in ({"model.f16.tflite": garbage}, {"model.f16.tflite": tiny_model.files["model.f16.tflite"][:9000]}):
        write_bundle(tmp_path / "bundle", tiny_manifest(tiny_model.golden()), {**tiny_model.files, **files})
        assert_refused(tmp_path / "bundle", "f16 model is damaged or cut short", runtime=runtime)
        load_bundle(tmp_path / "bundle", "int8", runtime)


def test_golden_outputs_must_be_repeated(tmp_path: Path, tiny_model: TinyModel) -> None:
    off = tiny_model.spectra[:3].copy()
    off[2, 64] += 0.02
    write_bundle(tmp_path / "bundle", tiny_manifest(tiny_model.golden(f16=off)), tiny_model.files)
    assert_refused(tmp_path / "bundle", "off its golden outputs, 0.01 is allowed")
    load_bundle(tmp_path / "bundle", "int8")


def test_a_model_that_gives_no_number_is_refused() -> None:
    class Broken(FakeModel):
        def run(self, *inputs: Any) -> Any:
            spectrum = super().run(*inputs)
            spectrum[7] = np.nan
            return spectrum

    model = Broken(n_columns=2, height=3, width=4, n_latent=1, n_bins=9)
    golden = make_golden([(np.ones((2, 7)), np.zeros(1), 1.0)], {"fake/fake": np.zeros((1, 9))}, 100.0)
    with pytest.raises(BundleError, match="not a number"):
        check_golden(model, golden)


def test_a_signed_bundle_loads_and_names_its_signer(signed: Path, keys: Path) -> None:
    assert read_bundle(signed).manifest.signed
    assert read_bundle(signed, keys / "allowed").signer == "owner@studio"
    assert load_bundle(signed, allowed_signers=keys / "allowed").manifest.name == "tiny"


def test_a_bundle_may_be_signed_again(signed: Path, keys: Path) -> None:
    sign(signed, keys / "stranger")
    assert_refused(signed, "signer is not in", allowed_signers=keys / "allowed")
    sign(signed, keys / "owner")
    assert read_bundle(signed, keys / "allowed").signer == "owner@studio"


def test_an_unsigned_bundle_is_refused_where_signers_are_asked_for(bundle: Path, keys: Path) -> None:
    assert_refused(bundle, "is not signed", allowed_signers=keys / "allowed")


def test_a_signature_cannot_be_left_out(signed: Path) -> None:
    (signed / SIGNATURE).unlink()
    assert_refused(signed, "missing from this signed bundle")


def test_a_signature_cannot_be_stripped_by_marking_the_bundle_unsigned(signed: Path, keys: Path) -> None:
    manifest = parse_manifest((signed / MANIFEST).read_bytes())
    (signed / MANIFEST).write_bytes(build_manifest(dataclasses.replace(manifest, signed=False)))
    assert_refused(signed, "does not belong to manifest.json")
    subprocess.run(
        [
            "ssh-keygen",
            "-q",
            "-Y",
            "sign",
            "-f",
            str(keys / "owner"),
            "-n",
            signature.NAMESPACE,
            str(signed / MANIFEST),
        ],
        input=b"y\n",
        check=True,
        capture_output=True,
    )
    assert_refused(signed, "marked unsigned")


def test_a_signature_of_another_bundle_is_refused(
    signed: Path, keys: Path, tmp_path: Path, tiny_model: TinyModel
) -> None:
    other = tmp_path / "other"
    manifest = dataclasses.replace(tiny_manifest(tiny_model.golden()), version=8)
    write_bundle(other, manifest, tiny_model.files, keys / "owner")
    (signed / SIGNATURE).write_bytes((other / SIGNATURE).read_bytes())
    assert_refused(signed, "does not belong to manifest.json")
    assert_refused(signed, "does not belong to manifest.json", allowed_signers=keys / "allowed")


def test_a_signature_for_another_purpose_is_refused(signed: Path, keys: Path) -> None:
    (signed / SIGNATURE).unlink()
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(keys / "owner"), "-n", "file", str(signed / MANIFEST)]
    subprocess.run(command, check=True, capture_output=True)
    assert_refused(signed, "does not belong to manifest.json")
    assert_refused(signed, "does not belong to manifest.json", allowed_signers=keys / "allowed")


def test_what_signing_needs_is_explained(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(signed)
    with pytest.raises(BundleError, match="there is no key at"):
        sign(signed, tmp_path / "nokey")
    (tmp_path / "nokey").write_text("not a key\n")
    with pytest.raises(BundleError, match="use an OpenSSH private key"):
        sign(signed, tmp_path / "nokey")
    assert_refused(signed, "no list of allowed signers", allowed_signers=tmp_path / "none")
    assert contents(signed) == before
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_refused(signed, "apt install openssh-client")
    (tmp_path / "ssh-keygen").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "ssh-keygen").chmod(0o755)
    monkeypatch.setattr(signature, "CHECK_TIMEOUT_S", 0.1)
    assert_refused(signed, "did not answer in 0.1 s")


def test_a_bundle_is_replaced_and_nothing_else_is(tmp_path: Path, bundle: Path, tiny_model: TinyModel) -> None:
    manifest = dataclasses.replace(tiny_manifest(tiny_model.golden()), version=8)
    write_bundle(bundle, manifest, tiny_model.files)
    assert read_bundle(bundle).manifest.version == 8
    (tmp_path / "empty").mkdir()
    write_bundle(tmp_path / "empty", manifest, tiny_model.files)
    (bundle / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path in (bundle, tmp_path / "file", tmp_path):
        with pytest.raises(BundleError, match="not a bundle: choose another folder"):
            write_bundle(path, manifest, tiny_model.files)
    assert (bundle / "notes.txt").read_text() == (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "empty", "file"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["sync", "move"])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path,
    bundle: Path,
    tiny_model: TinyModel,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    place: str,
) -> None:
    before = contents(bundle)
    rename = Path.rename

    def fail(*_: object) -> None:
        raise failure

    def fail_to_move_in(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise failure
        return rename(path, target)

    monkeypatch.setattr(*((models, "sync_path", fail) if place == "sync" else (Path, "rename", fail_to_move_in)))
    with pytest.raises((BundleError, KeyboardInterrupt)):
        write_bundle(bundle, tiny_manifest(tiny_model.golden()), tiny_model.files)
    assert contents(bundle) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_that_makes_no_sense_is_not_written(tmp_path: Path, tiny_model: TinyModel) -> None:
    manifest = tiny_manifest(tiny_model.golden())
    with pytest.raises(BundleError, match="missing"):
        write_bundle(tmp_path / "bundle", manifest, {"model.f16.tflite": b"model"})
    with pytest.raises(BundleError, match=r"unknown '\.\./x'"):
        write_bundle(tmp_path / "bundle", manifest, {**tiny_model.files, "../x": b"model"})
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(tmp_path / "file" / "bundle", manifest, tiny_model.files)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    models_command.add_arguments(parser)
    return models_command.main(parser.parse_args(arguments))


def test_verify_checks_every_variant_on_every_runtime(
    signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("verify", str(signed), "--allowed-signers", str(keys / "allowed"), "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["name"], row["version"], row["signer"]) == ("tiny", 7, "owner@studio")
    checks = {(check["variant"], check["runtime"]) for check in row["checks"]}
    assert checks == {(variant, runtime) for variant in MODEL_FILES for runtime in installed_runtimes()}
    assert all(check["golden_error"] <= check["tolerance"] for check in row["checks"])
    assert command("verify", str(signed)) == 0
    assert "tiny 7: 0.2 s at 16000 Hz, 0.0 MB, signed" in capsys.readouterr().out


def test_list_shows_broken_bundles_too(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken").mkdir()
    assert command("list", str(tmp_path), "--json") == 0
    rows = {Path(row["path"]).name: row for row in json.loads(capsys.readouterr().out)["bundles"]}
    assert "manifest.json is missing" in rows["broken"]["error"]
    assert rows[bundle.name]["name"] == "tiny"
    assert command("list", str(tmp_path)) == 0
    assert "tiny 7" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_only_bundle_that_is_missing_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    monkeypatch.setattr(models_command, "FACTORY", tmp_path / "gone")
    assert run("device", "A test.", COMMANDS, ["models", "list", *options]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert f"{tmp_path / 'gone'}: there is no folder" in printed.err


def test_bundles_that_are_all_broken_are_listed_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models_command, "FACTORY", tmp_path / "gone")
    (tmp_path / "broken").mkdir()
    assert command("list", str(tmp_path)) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_broken_bundle_is_one_line_and_exit_code_1(bundle: Path) -> None:
    os.truncate(bundle / "model.f16.tflite", 10)
    done = subprocess.run(
        [sys.executable, "-m", "device", "models", "verify", str(bundle)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "model.f16.tflite has 10 bytes" in done.stderr
