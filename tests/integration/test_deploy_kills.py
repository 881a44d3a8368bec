"""SIGKILL at every step of a push, of its trial and of the way back: found by what they do to the disk, not by time.

With LONG_TESTS=1 at every change of the disk; otherwise at every third.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.config import Config, load_config
from device.core.errors import ModelError
from device.core.wire import digest_of, pack_bundle, parse_command
from device.models import model_trial
from device.models.bundles import FACTORY, read_manifest, write_bundle
from device.models.model_copy import model_problem
from device.models.model_store import current_bundle, install_bundle, installed_bundles
from device.models.model_tryout import TryOut
from device.remote.models import activate
from device.remote.upload import receive
from device.store.files import link_synced, remove_file
from tests.killed import NEVER, killed_after
from tests.tone_bundles import read_files

pytestmark = pytest.mark.timeout(300)
EVERY = 1 if os.environ.get("LONG_TESTS") else 3
MANIFEST_OF, FILES_OF = read_files(FACTORY)


class Box:
    """A box's card, on which 'old' has played well, and the bundle 'new' that is pushed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # How it is tried is another matter, and takes a second.
        monkeypatch.setattr("device.models.model_copy.try_out", lambda *_: TryOut("f16", {}, 0.0, 0.0))
        self.state, self._kept = folder / "state", folder / "kept"
        self.state.mkdir()
        config = folder / "box.toml"
        config.write_text(
            f'[state]\nfolder = "{self.state}"\n[status]\nsocket = "{folder / "none"}"\n'
            "[store]\nrequire_signature = false\n"
        )
        self.config: Config = load_config(config)
        for version, name in enumerate(("old", "new"), 1):
            write_bundle(folder / name, replace(MANIFEST_OF, name="mine", version=version), FILES_OF)
        self.old = install_bundle(folder / "old", self.state, allowed_signers=None, require_signature=False).path
        model_trial.begin(self.state)
        model_trial.commit(self.state, self.old)
        self.stream = pack_bundle({path.name: path.read_bytes() for path in (folder / "new").iterdir()})
        self.digest = digest_of(self.stream)
        self.said: list[Any] = []

    def keep(self) -> None:
        """What lies on the card now is what every attempt begins with."""
        shutil.copytree(self.state, self._kept, symlinks=True)

    def begin_again(self) -> None:
        shutil.rmtree(self.state)
        shutil.copytree(self._kept, self.state, symlinks=True)

    def put(self) -> None:
        pieces = [self.stream[at : at + 300_000] for at in range(0, len(self.stream), 300_000)]
        command = parse_command(f"put {self.digest} {len(self.stream)} 0")
        assert receive(self.state, command, pieces) == (len(self.stream), True)

    def activate(self) -> None:
        assert activate(self.config, self.digest, allow_downgrade=False, say=self.said.append) == 0

    def push(self) -> None:
        self.put()
        self.activate()

    @property
    def current(self) -> str:
        """Which plays: 'old', 'new' or 'factory'; it is whole."""
        path = current_bundle(self.state)
        if path == FACTORY:
            return "factory"
        assert model_problem(path) is None
        return {1: "old", 2: "new"}[read_manifest(path).version]

    def starts_with(self) -> str:
        """Which plays after a start of the box."""
        model_trial.bundle_at_start(self.state)
        return self.current


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    return Box(tmp_path, monkeypatch)


def at_every_step(box: Box, do: Callable[[], object], check: Callable[[], object]) -> int:
    """Kill at each step; look what is there; give how many steps there were."""
    box.keep()
    n = 0
    while killed_after(n, do):
        check()
        box.begin_again()
        n += EVERY
    check()
    return n


def the_push_goes_through(box: Box) -> None:
    assert model_trial.last_good(box.state) == box.old
    before = box.current
    assert before in ("old", "new")
    if before == "new":
        assert model_trial.trial_of(box.state) is not None
    box.push()
    assert (box.current, len(installed_bundles(box.state))) == ("new", 2)
    assert model_trial.trial_of(box.state) is not None
    assert not list((box.state / "incoming").glob("*.part"))
    model_trial.begin(box.state)  # and its trial can begin, and be cut short
    assert box.starts_with() == "old"


def test_killed_while_it_takes_in_a_bundle_the_box_is_as_it_was(box: Box) -> None:
    def check() -> None:
        assert box.current == "old"
        the_push_goes_through(box)

    assert at_every_step(box, box.put, check) >= 7


def test_killed_while_it_installs_the_box_has_the_old_model_or_the_new_one_whole(box: Box) -> None:
    box.put()
    assert at_every_step(box, box.activate, lambda: the_push_goes_through(box)) > 20


@pytest.mark.parametrize("step", ["begin", "commit", "roll back", "start"])
def test_a_supervisor_that_is_killed_in_a_trial_leaves_a_model_that_may_be_trusted(box: Box, step: str) -> None:
    box.push()
    new = current_bundle(box.state)
    does: dict[str, Callable[[], object]] = {
        "begin": lambda: model_trial.begin(box.state),
        "commit": lambda: model_trial.commit(box.state, new),
        "roll back": lambda: model_trial.roll_back(box.state),
        "start": lambda: model_trial.bundle_at_start(box.state),
    }
    if step != "begin":
        model_trial.begin(box.state)

    def check() -> None:
        may_be = {"begin": ("old", "new"), "commit": ("old", "new"), "roll back": ("old",), "start": ("old",)}[step]
        assert box.starts_with() in may_be
        assert model_trial.last_good(box.state) in (box.old, new)
        box.push()
        assert box.current == "new"

    assert at_every_step(box, does[step], check) >= 6


@pytest.mark.parametrize("step", ["read_bundle", "run_bundle", "_p50_ms", "_time_synth", "print"])
def test_a_try_out_that_is_killed_costs_the_new_model_only(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str
) -> None:
    if EVERY > 1 and step != "print":
        pytest.skip("LONG_TESTS=1 kills it at each step")
    monkeypatch.undo()
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport os, sys\nfrom device.models import model_tryout\n"
        f"model_tryout.{step} = lambda *_: os.kill(os.getpid(), {signal.SIGKILL:d})\n"
        "sys.exit(model_tryout._main(*sys.argv[3:]))\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr("device.models.model_tryout.sys.executable", str(python))
    box.put()
    with pytest.raises(ModelError, match="brings the runtime down"):
        box.activate()
    assert (box.current, installed_bundles(box.state)) == ("old", [box.old])


def test_the_harness_sees_a_card_that_is_left_half_changed(box: Box) -> None:
    """A link that is taken away before the new one is there: an installation that does so is caught."""

    def switch() -> None:
        link = box.state / "models" / "current"
        name = link.readlink().name
        remove_file(link)
        link_synced(link, name)

    assert killed_after(1, switch)
    assert box.current == "factory"
    assert not killed_after(NEVER, lambda: None)
