"""Installed models: what is refused, what plays, what is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from device.__main__ import COMMANDS
from device.cli import run
from device.config import load_config
from device.core.bundle import MANIFEST, MODEL_FILES
from device.core.errors import BundleError
from device.models.bundles import (
    FACTORY,
    BundleFiles,
    choose_runtime,
    choose_variant,
    load_bundle,
    read_bundle,
    run_bundle,
    sign,
    write_bundle,
)
from device.models.model_store import (
    Installed,
    chosen_bundle,
    current_bundle,
    current_problem,
    install_bundle,
    installed_bundles,
    next_bundle,
    switch_current,
)
from device.models.model_tryout import Limits, TryOut
from device.store.disk import LEFT_FREE_BYTES, free_bytes
from device.store.locks import FolderLock
from tests.tone_bundles import read_files

MANIFEST_OF, FILES_OF = read_files(FACTORY)
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Give bundles of any name and version, which play."""

    def make_bundle(version: int, name: str = "mine", **options: object) -> Path:
        path = tmp_path / "sent" / f"{name}-{version}"
        write_bundle(path, replace(MANIFEST_OF, name=name, version=version, **options), FILES_OF)  # type: ignore[arg-type]
        return path

    return make_bundle


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def _try_models_out_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, not in one of its own each time: that has its own tests."""

    def try_out(path: Path, limits: Limits) -> TryOut:  # noqa: ARG001
        for variant in MODEL_FILES:
            run_bundle(path, read_bundle(path), variant, choose_runtime())
        return TryOut("f16", {})

    monkeypatch.setattr("device.models.model_copy.try_out", try_out)


def install(source: Path, state: Path, **options: object) -> Installed:
    return install_bundle(source, state, **{"allowed_signers": None, "require_signature": False, **options})  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def names(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "models").iterdir())


def test_a_new_box_plays_the_factorys(state: Path, tmp_path: Path) -> None:
    assert current_bundle(state) == FACTORY
    assert current_bundle(tmp_path / "nowhere") == FACTORY
    assert current_problem(state) is None
    assert installed_bundles(state) == []
    assert next_bundle(state, FACTORY) == FACTORY


def test_what_is_installed_plays_and_is_what_was_sent(state: Path, make: Make) -> None:
    source = make(1)
    done = install(source, state)
    assert (done.name, done.version, done.signer, done.is_new, done.removed) == ("mine", 1, None, True, ())
    assert current_bundle(state) == done.path
    assert contents(done.path) == contents(source)
    assert names(state) == sorted(["current", "installed.json", done.path.name])


def test_the_variant_for_this_chip_is_remembered_and_played(
    state: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.models.model_copy.try_out", lambda *_: TryOut("int8", {}))
    path = install(make(1), state).path
    assert choose_variant(path) == "int8"
    assert load_bundle(path, "auto").model.variant == "int8"
    assert choose_variant(path, "f16") == "f16"
    assert choose_variant(FACTORY) == "f16"
    monkeypatch.undo()
    install(make(2), state)
    assert choose_variant(path) == "int8"


def test_a_second_model_takes_over_and_the_first_is_kept(state: Path, make: Make) -> None:
    first, second = install(make(1), state).path, install(make(2), state).path
    assert current_bundle(state) == second
    assert installed_bundles(state) == [first, second]


def test_only_newer_versions_of_a_name_are_taken_unless_allowed(state: Path, make: Make) -> None:
    newest = install(make(5), state).path
    for version in (4, 5):
        with pytest.raises(BundleError, match=f"version {version} of mine is not newer than version 5"):
            install(make(version, temperature=0.25), state)
    assert current_bundle(state) == newest
    other = install(make(1, "other"), state).path
    assert current_bundle(state) == other
    older = install(make(4), state, allow_downgrade=True).path
    assert current_bundle(state) == older
    with pytest.raises(BundleError, match="not newer than version 5"):
        install(make(4), state)


def test_an_old_version_is_known_after_its_model_was_removed(state: Path, make: Make) -> None:
    install(make(5), state)
    for version in (1, 2):
        install(make(version, "other"), state, n_kept=1)
    assert len(installed_bundles(state)) == 2
    with pytest.raises(BundleError, match="not newer than version 5"):
        install(make(4), state)


def test_what_was_installed_before_becomes_current_again(state: Path, make: Make) -> None:
    first = install(make(1), state)
    install(make(1, "other"), state)
    again = install(make(1), state)
    assert (again.path, again.is_new) == (first.path, False)
    assert current_bundle(state) == first.path


def test_the_oldest_are_removed_but_never_what_plays_or_is_in_use(state: Path, make: Make) -> None:
    first, second, third = (install(make(version), state).path for version in (1, 2, 3))
    fourth = install(make(4), state, n_kept=1, in_use=[first])
    assert fourth.removed == (second,)
    assert installed_bundles(state) == [first, third, fourth.path]
    fifth = install(make(5), state, n_kept=1)
    assert set(installed_bundles(state)) == {fourth.path, fifth.path}


def test_a_clock_that_ran_backwards_changes_no_order(state: Path, make: Make) -> None:
    first, second = install(make(1), state).path, install(make(2), state).path
    for path, time_s in ((first, 4e9), (second, 0)):
        os.utime(path, (time_s, time_s))
    assert installed_bundles(state) == [first, second]
    assert install(make(3), state, n_kept=1).removed == (first,)


def test_next_goes_round(state: Path, make: Make) -> None:
    first, second = install(make(1), state).path, install(make(2), state).path
    assert next_bundle(state, FACTORY) == first
    assert next_bundle(state, first) == second
    assert next_bundle(state, second) == FACTORY
    assert next_bundle(state, Path("/elsewhere")) == FACTORY
    (first / MANIFEST).write_bytes(b"{}")
    assert next_bundle(state, FACTORY) == second


def test_next_can_be_made_current(state: Path, make: Make) -> None:
    first, second = install(make(1), state).path, install(make(2), state).path
    for path in (first, FACTORY, second):
        switch_current(state, path)
        assert current_bundle(state) == path
    (first / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        switch_current(state, first)
    assert current_bundle(state) == second


def damage(path: Path) -> None:
    data = bytearray((path / MODEL_FILES["f16"]).read_bytes())
    data[len(data) // 2] ^= 1
    (path / MODEL_FILES["f16"]).write_bytes(data)


def exchange(path: Path) -> None:
    write_bundle(path, replace(MANIFEST_OF, name="intruder"), FILES_OF)


@pytest.mark.parametrize("spoil", [damage, exchange, shutil.rmtree])
def test_a_model_that_is_damaged_is_not_played_and_can_be_installed_again(
    state: Path, make: Make, spoil: Callable[[Path], None]
) -> None:
    source = make(1)
    path = install(source, state).path
    spoil(path)
    assert current_bundle(state) == FACTORY
    assert str(path) in str(current_problem(state))
    again = install(source, state)
    assert (again.path, again.is_new) == (path, True)
    assert current_bundle(state) == path
    assert contents(path) == contents(source)


@pytest.mark.parametrize("target", ["../../outside", "/etc", "gone", ".new-0123456789abcdef"])
def test_a_link_that_leads_elsewhere_is_not_followed(state: Path, make: Make, target: str) -> None:
    shutil.copytree(install(make(1), state).path, state.parent / "outside")
    (state / "models" / "current").unlink()
    (state / "models" / "current").symlink_to(target)
    assert current_bundle(state) == FACTORY
    assert current_problem(state) is not None


def test_what_cannot_be_trusted_changes_nothing(state: Path, make: Make) -> None:
    install(make(1), state)
    before = contents(state)
    damaged, wrong = make(2), make(3)
    damage(damaged)
    outputs = {key: spectra + 0.5 for key, spectra in MANIFEST_OF.golden.outputs.items()}
    write_bundle(
        wrong, replace(MANIFEST_OF, name="wrong", golden=replace(MANIFEST_OF.golden, outputs=outputs)), FILES_OF
    )
    for source, message in ((damaged, "damaged"), (wrong, "off its golden outputs"), (state / "none", "no folder")):
        with pytest.raises(BundleError, match=message):
            install(source, state)
    assert contents(state) == before


def test_a_bundle_that_changes_while_it_is_read_is_refused(
    state: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stick may be exchanged, or lie: what counts is what lies on the card, not what was seen on the stick."""
    source, other = make(1), make(2, "intruder")
    whole = contents(source)

    def read_then_damage(path: Path, allowed_signers: Path | None = None) -> BundleFiles:
        files = read_bundle(path, allowed_signers)
        damage(source)
        return files

    def mend_after_copying(path: Path) -> int:
        for name, data in whole.items():
            (source / name).write_bytes(data)
        return free_bytes(path)

    monkeypatch.setattr("device.models.model_store.read_bundle", read_then_damage)
    monkeypatch.setattr("device.models.model_copy.free_bytes", mend_after_copying)
    with pytest.raises(BundleError, match="was changed or damaged"):
        install(source, state)
    assert installed_bundles(state) == []
    assert names(state) == []
    monkeypatch.undo()
    assert install(other, state).name == "intruder"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("owner", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (folder / "allowed").write_text("owner@studio " + (folder / "owner.pub").read_text())
    return folder


def test_only_allowed_signers_install_where_signatures_are_asked_for(state: Path, make: Make, keys: Path) -> None:
    options = {"allowed_signers": keys / "allowed", "require_signature": True}
    source = make(1)
    with pytest.raises(BundleError, match="not signed"):
        install(source, state, **options)
    sign(source, keys / "stranger")
    with pytest.raises(BundleError, match="signer is not in"):
        install(source, state, **options)
    sign(source, keys / "owner")
    with pytest.raises(BundleError, match="there is no list of allowed signers"):
        install(source, state, allowed_signers=keys / "none", require_signature=True)
    with pytest.raises(BundleError, match="nobody is allowed to sign"):
        install(source, state, require_signature=True)
    assert installed_bundles(state) == []
    assert install(source, state, **options).signer == "owner@studio"
    assert current_bundle(state) == installed_bundles(state)[0]


def test_what_another_installation_left_is_cleared_away(state: Path, make: Make) -> None:
    left = state / "models" / ".new-0123456789abcdef"
    shutil.copytree(FACTORY, left)
    path = install(make(1), state).path
    assert names(state) == sorted(["current", "installed.json", path.name])


def test_one_installation_at_a_time(state: Path, make: Make) -> None:
    (state / "models").mkdir()
    lock = FolderLock(state / "models")
    with pytest.raises(BundleError, match="another model is being installed"):
        install(make(1), state)
    lock.release()
    install(make(1), state)


def test_a_card_without_room_is_told(state: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(1)
    size = sum(len(data) for data in contents(source).values())
    monkeypatch.setattr("device.models.model_copy.free_bytes", lambda _: size + LEFT_FREE_BYTES - 1)
    with pytest.raises(BundleError, match="is full"):
        install(source, state)
    assert current_bundle(state) == FACTORY
    monkeypatch.setattr("device.models.model_copy.free_bytes", lambda _: size + LEFT_FREE_BYTES)
    install(source, state)


def test_without_a_state_nothing_is_installed(tmp_path: Path, make: Make) -> None:
    with pytest.raises(BundleError, match=r"no model can be installed: .*nowhere cannot be used"):
        install(make(1), tmp_path / "nowhere")


def test_an_index_that_is_damaged_hides_no_model(state: Path, make: Make) -> None:
    first, second = install(make(1), state).path, install(make(2), state).path
    for damaged in (b"", b"{", b"[]", b'{"order": 3, "highest": {}}', b'{"order": [], "highest": {"mine": "x"}}'):
        (state / "models" / "installed.json").write_bytes(damaged)
        assert set(installed_bundles(state)) == {first, second}
        assert current_bundle(state) == second
    assert installed_bundles(state)[-1] == max(first, second)
    with pytest.raises(BundleError, match="not newer than version 2"):
        install(make(1, temperature=0.25), state)
    third = install(make(3), state).path
    assert installed_bundles(state)[-1] == third


def configured(tmp_path: Path, text: str = "") -> Path:
    file = tmp_path / "config.toml"
    file.write_text(
        f'{text}\n[state]\nfolder = "{tmp_path / "state"}"\n[store]\nrequire_signature = false\nn_models = 1\n'
    )
    return file


def models(*arguments: str | Path) -> int:
    return run("device", "A test.", COMMANDS, ["models", *map(str, arguments)])


def test_the_commands_install_and_say_what_plays(
    tmp_path: Path, state: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configured(tmp_path)
    first, second = make(1), make(2)
    assert models("install", first, "--config", file) == 0
    path = current_bundle(state)
    assert capsys.readouterr().out == f"mine 1, installed as {path}: it plays when the box starts next\n"
    assert models("install", second, "--config", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(current_bundle(state))
    assert models("list", "--config", file) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["mine 1", "mine 2"]
    assert [line.endswith(", plays") for line in lines] == [False, False, True]
    damage(current_bundle(state))
    assert models("list", "--config", file, "--json") == 0
    assert [row["plays"] for row in json.loads(capsys.readouterr().out)["bundles"]] == [True, False, False]
    assert models("list", "--config", file) == 0
    assert "the factory's plays instead of the one that was installed last: " in capsys.readouterr().out
    assert models("install", first, "--config", file) == 1
    assert "not newer than version 2" in capsys.readouterr().err


def test_the_command_asks_for_a_signature_unless_told(
    tmp_path: Path, state: Path, make: Make, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configured(tmp_path)
    file.write_text(
        f'[state]\nfolder = "{state}"\n[store]\nallowed_signers = "{keys / "allowed"}"\n[model]\nbundle = "{FACTORY}"\n'
    )
    source = make(1)
    assert models("install", source, "--config", file) == 1
    assert "it is not signed" in capsys.readouterr().err
    assert models("install", source, "--config", file, "--allow-unsigned") == 0
    assert "model.bundle in the configuration names" in capsys.readouterr().out


def test_a_bundle_that_the_configuration_names_plays_whatever_is_installed(
    tmp_path: Path, state: Path, make: Make
) -> None:
    path, absent = install(make(1), state).path, tmp_path / "absent.toml"
    assert chosen_bundle(load_config(configured(tmp_path), absent)) == path
    named = load_config(configured(tmp_path, f'[model]\nbundle = "{FACTORY}"'), absent)
    assert chosen_bundle(named) == FACTORY
