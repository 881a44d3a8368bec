"""What a key for deployment may do, as sshd would start it: uploads, takes, models, and nothing else.

`DEPLOY_CORRUPTIONS=10000` before the command tries so many damaged bundles.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.config import load_config
from device.core.errors import BundleError, DanceSamplerError, ModelError
from device.core.motiongram import MotionSettings
from device.core.wire import TAKE_FILES, digest_of, pack_bundle, parse_command, unpack_bundle
from device.models.bundles import FACTORY, sign, write_bundle
from device.models.model_store import current_bundle, install_bundle, installed_bundles
from device.models.model_trial import last_good, trial_of
from device.models.model_tryout import Limits, try_out
from device.remote.models import activate
from device.remote.upload import n_received, receive
from device.store.disk import LEFT_FREE_BYTES
from device.store.locks import FolderLock
from device.store.store import TakeWriter
from tests.eventually import eventually
from tests.tone_bundles import make_bundles, read_files
from tests.trial_bundles import make_trial_bundles

pytestmark = pytest.mark.timeout(300)

WRONG_CLOCK = Path(__file__).parents[1] / "wrong_clock.c"
N_CORRUPTIONS = int(os.environ.get("DEPLOY_CORRUPTIONS", "300"))
MANIFEST_OF, FILES_OF = read_files(FACTORY)


class Shell:
    """A box's state and configuration, without a box that runs, and the program behind its key."""

    def __init__(self, folder: Path, idle_s: float = 60.0) -> None:
        self.folder, self.state = folder, folder / "state"
        self.state.mkdir()
        for name in ("owner", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        self.allow("owner")
        self.environment: dict[str, str] = {}
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[state]\nfolder = "{self.state}"\n[status]\nsocket = "{folder / "none"}"\n'
            f'[store]\nallowed_signers = "{folder / "allowed"}"\n[deploy]\nidle_s = {idle_s}\n'
        )

    def allow(self, *names: str) -> None:
        lines = [f"{name}@studio {(self.folder / f'{name}.pub').read_text()}" for name in names]
        (self.folder / "allowed").write_text("".join(lines))

    def start(self, command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "device", "deploy-shell", "--config", str(self.config)],
            env={**os.environ, **self.environment, "SSH_ORIGINAL_COMMAND": command},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def raw(self, command: str, data: bytes = b"") -> tuple[int, bytes]:
        process = self.start(command)
        out, err = process.communicate(data, timeout=120)
        assert err == b"", err.decode()
        return process.returncode, out

    def ask(self, command: str, data: bytes = b"") -> dict[str, Any]:
        """Give the last object of an answer."""
        code, out = self.raw(command, data)
        objects: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
        assert objects[0]["protocol"] == 1
        assert (code == 0) == objects[-1]["ok"]
        return objects[-1]

    def bundle(self, version: int, key: str | None = "owner", name: str = "mine", **changes: object) -> bytes:
        """Give the stream of a bundle that plays."""
        path = self.folder / f"{name}-{version}"
        write_bundle(path, replace(MANIFEST_OF, name=name, version=version, **changes), FILES_OF)  # type: ignore[arg-type]
        if key is not None:
            sign(path, self.folder / key)
        return pack_bundle({each.name: each.read_bytes() for each in path.iterdir()})

    def push(self, stream: bytes, *words: str) -> dict[str, Any]:
        assert self.ask(f"put {digest_of(stream)} {len(stream)} 0", stream)["complete"]
        return self.ask(" ".join(["activate", digest_of(stream), *words]))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "command", ["", "sh", "status; id", "put", "cat /etc/passwd", "pull-take 1 ../x 0", "$(reboot)"]
)
def test_it_is_no_shell(shell: Shell, command: str) -> None:
    assert "this key is for status, list" in shell.ask(command)["error"]
    assert contents(shell.state) == {}


@pytest.mark.parametrize("verb", ["offset", "put", "pull-take", "log"])
def test_what_looks_into_no_bundle_loads_no_numpy(shell: Shell, verb: str) -> None:
    """A Pi takes most of a second for it, at each connection, and a push has three."""
    words = {"offset": "0" * 64, "put": f"{'0' * 64} 100 0", "pull-take": "1 take.json 0", "log": "5"}[verb]
    line = [sys.executable, "-X", "importtime", "-m", "device", "deploy-shell", "--config", str(shell.config)]
    environment = {**os.environ, "SSH_ORIGINAL_COMMAND": f"{verb} {words}"}
    said = subprocess.run(line, env=environment, capture_output=True, input=b"", check=False).stderr.decode()
    loaded = {each.split("|")[-1].strip() for each in said.splitlines()}
    assert "device.remote.upload" in loaded
    assert not loaded & {"numpy", "device.engine", "device.models.bundles"}


def test_a_bundle_that_is_pushed_plays_when_the_box_starts(shell: Shell) -> None:
    done = shell.push(shell.bundle(1))
    assert (done["phase"], "starts" in done["reason"]) == ("pending", True)
    (path,) = installed_bundles(shell.state)
    assert current_bundle(shell.state) == path
    trial = trial_of(shell.state)
    assert trial is not None
    assert trial.n_attempts == 0
    said = shell.ask("list")
    assert [(row["name"], row["is_current"], row["is_last_good"]) for row in said["models"]][1:] == [
        ("mine", True, False)
    ]
    assert said["models"][0]["is_last_good"]
    assert shell.ask("status")["running"] is False
    assert shell.ask("rollback")["name"] == MANIFEST_OF.name
    assert current_bundle(shell.state) == FACTORY
    assert "nothing to go back to" in shell.ask("rollback")["error"]


def test_an_upload_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    shell = Shell(tmp_path, idle_s=2.0)
    stream = shell.bundle(1)
    digest, third = digest_of(stream), len(stream) // 3
    assert shell.ask(f"offset {digest}")["offset"] == 0
    put = f"put {digest} {len(stream)}"
    assert shell.ask(f"{put} 0", stream[:third]) == {"ok": True, "protocol": 1, "offset": third, "complete": False}
    assert "not here as a whole" in shell.ask(f"activate {digest}")["error"]
    assert "up to" in shell.ask(f"{put} {third + 1}", stream[third + 1 :])["error"]
    with shell.start(f"{put} {third}") as process:  # cut without a word: it gives up by itself
        assert process.stdin is not None
        process.stdin.write(stream[third : 2 * third])
        process.stdin.flush()
        assert process.wait(60) == 0
    assert shell.ask(f"offset {digest}")["offset"] == 2 * third
    assert shell.ask(f"{put} {2 * third}", stream[2 * third :] + b"and more")["complete"]
    assert shell.ask(f"activate {digest}")["ok"]
    assert shell.ask(f"offset {digest}")["offset"] == 0


def test_one_upload_is_kept(shell: Shell) -> None:
    for number in range(3):
        data = bytes([number]) * 100
        shell.ask(f"put {digest_of(data)} 200 0", data)
    assert len(list((shell.state / "incoming").iterdir())) == 1


def test_what_is_something_else_than_was_said_is_thrown_away(shell: Shell) -> None:
    stream = shell.bundle(1)
    digest = digest_of(stream)
    spoiled = bytearray(stream)
    spoiled[5000] ^= 1
    assert "is not what was sent" in shell.ask(f"put {digest} {len(stream)} 0", bytes(spoiled))["error"]
    assert shell.ask(f"offset {digest}")["offset"] == 0
    assert shell.ask(f"activate {digest}")["error"].startswith("the bundle was not sent")


def begun_push(shell: Shell, stream: bytes) -> subprocess.Popen[bytes]:
    """Give a push of which the first 1000 bytes are on the card."""
    first = shell.start(f"put {digest_of(stream)} {len(stream)} 0")
    assert first.stdin is not None
    first.stdin.write(stream[:1000])
    first.stdin.flush()
    part = shell.state / "incoming" / f"{digest_of(stream)}.part"
    eventually(lambda: first.poll() is not None or (part.exists() and part.stat().st_size == 1000), "it came")
    assert first.poll() is None
    return first


def test_two_pushes_at_once(tmp_path: Path) -> None:
    """The second is told so, and the first, which goes on, ends well."""
    shell = Shell(tmp_path, idle_s=6.0)  # gives way after a second of silence
    stream = shell.bundle(1)
    first = begun_push(shell, stream)
    assert first.stdin is not None
    other = shell.bundle(2)
    second = shell.start(f"put {digest_of(other)} {len(other)} 0")
    place = 1000
    while second.poll() is None:  # a byte at a time, as over the slowest of lines
        first.stdin.write(stream[place : place + 1])
        first.stdin.flush()
        place += 1
        with suppress(subprocess.TimeoutExpired):
            second.wait(0.2)
    assert "another push" in json.loads(second.communicate()[0])["error"]
    out, _ = first.communicate(stream[place:], 60)
    assert json.loads(out)["complete"]


def test_a_push_whose_sender_fell_silent_gives_way_to_the_next(tmp_path: Path) -> None:
    """A connection that is dead may not say so; the same command, once more, must not wait for its end."""
    shell = Shell(tmp_path, idle_s=6.0)
    stream = shell.bundle(1)
    first = begun_push(shell, stream)
    put = f"put {digest_of(stream)} {len(stream)} 1000"
    assert shell.ask(put, stream[1000:])["complete"]
    out, _ = first.communicate(timeout=60)
    assert json.loads(out) == {"ok": True, "protocol": 1, "offset": 1000, "complete": False}


def test_a_push_that_was_cut_in_its_trial_is_seen_through_by_the_next(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked first may still have the lock, on a connection that is dead."""
    stream, phases = shell.bundle(1), iter(["waiting", "waiting", "trial", "trial", "committed"])
    digest, config = digest_of(stream), load_config(shell.config)
    put = parse_command(f"put {digest} {len(stream)} 0")
    receive(shell.state, put, [stream])
    path = install_bundle(shell.folder / "mine-1", shell.state, allowed_signers=None, require_signature=False).path

    def ask(_: Path, __: dict[str, object]) -> dict[str, Any]:
        return {"trial": {"path": str(path), "phase": next(phases), "seconds": 1.0, "of_s": 60.0, "reason": ""}}

    monkeypatch.setattr("device.remote.models.ask", ask)
    monkeypatch.setattr("device.remote.models.LOOK_S", 0.0)
    first, said = FolderLock(shell.state / "incoming"), list[Any]()
    assert receive(shell.state, put, []) == (len(stream), True)
    assert activate(config, digest, allow_downgrade=False, say=said.append) == 0
    assert [each["phase"] for each in said] == ["verifying", "verified", "waiting", "trial", "committed"]
    first.release()


def test_a_card_that_is_full_takes_no_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must hold the stream, then the model beside it, and leave room for the box's own files."""
    data = bytes(1000)
    put = parse_command(f"put {digest_of(data)} 1000 0")
    monkeypatch.setattr("device.remote.upload.free_bytes", lambda _: 2000 + LEFT_FREE_BYTES - 1)
    with pytest.raises(BundleError, match="card is full"):
        receive(tmp_path, put, [data])
    assert n_received(tmp_path, put.digest) == 0
    monkeypatch.setattr("device.remote.upload.free_bytes", lambda _: 2000 + LEFT_FREE_BYTES)
    assert receive(tmp_path, put, [data]) == (1000, True)


def foreign(shell: Shell) -> bytes:
    return shell.bundle(2, key="stranger")


def revoked(shell: Shell) -> bytes:
    stream = shell.bundle(2)
    shell.allow("stranger")
    return stream


def replayed(shell: Shell) -> bytes:
    return shell.bundle(1, temperature=0.5)


def unsigned(shell: Shell) -> bytes:
    return shell.bundle(2, key=None)


def truncated(shell: Shell) -> bytes:
    return shell.bundle(2)[:-100]


def with_another_file(shell: Shell) -> bytes:
    return shell.bundle(2) + bytes([7]) + b"../evil" + (1).to_bytes(8, "little") + b"x"


def with_a_huge_file(shell: Shell) -> bytes:
    return shell.bundle(2) + bytes([5]) + b"x.bin" + (1 << 60).to_bytes(8, "little")


REFUSED: dict[Callable[[Shell], bytes], str] = {
    foreign: "signer is not in", revoked: "signer is not in", replayed: "not newer than version 1",
    unsigned: "not signed", truncated: "cut short", with_another_file: "does not belong",
    with_a_huge_file: "does not belong",
}  # fmt: skip


@pytest.mark.parametrize("make", REFUSED)
def test_what_cannot_be_trusted_changes_nothing(shell: Shell, make: Callable[[Shell], bytes]) -> None:
    assert shell.push(shell.bundle(1))["ok"]
    before = contents(shell.state / "models")
    assert REFUSED[make] in shell.push(make(shell))["error"]
    assert contents(shell.state / "models") == before


def test_an_older_version_is_taken_where_that_is_allowed(shell: Shell) -> None:
    assert shell.push(shell.bundle(2))["ok"]
    assert "not newer" in shell.push(shell.bundle(1))["error"]
    assert shell.push(shell.bundle(1), "allow-downgrade")["ok"]


def test_a_clock_that_is_wrong_by_decades_keeps_no_model_out_and_lets_no_old_one_in(shell: Shell) -> None:
    """Neither signatures nor versions nor the way back may hang on the box's calendar, which may be any year's."""
    library = shell.folder / "wrong_clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(WRONG_CLOCK), "-ldl"], check=True)

    def set_clock(years: int) -> None:
        shell.environment = {"LD_PRELOAD": str(library), "WRONG_CLOCK_S": str(years * 31_557_600)}
        told = subprocess.run(["date", "+%Y"], env={**os.environ, **shell.environment}, capture_output=True, check=True)
        assert abs(int(told.stdout) - time.localtime().tm_year - years) <= 1

    set_clock(30)
    assert shell.push(shell.bundle(1))["phase"] == "pending"
    set_clock(-50)
    assert shell.push(shell.bundle(2))["phase"] == "pending"
    assert "not newer than version 2" in shell.push(shell.bundle(1))["error"]
    assert "signer is not in" in shell.push(shell.bundle(3, key="stranger"))["error"]
    set_clock(50)
    assert [row["version"] for row in shell.ask("list")["models"][1:]] == [1, 2]
    assert shell.ask("rollback")["name"] == MANIFEST_OF.name  # neither has played well yet
    assert current_bundle(shell.state) == FACTORY


def test_none_of_many_damaged_bundles_is_installed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte, or three, of stream, manifest, signature or models is another: whatever is left of it is refused."""
    played: list[Path] = []
    monkeypatch.setattr("device.models.model_copy.try_out", lambda path, _: played.append(path))
    stream, rng = shell.bundle(1), np.random.default_rng(0)
    files = unpack_bundle(stream)
    source = shell.folder / "source"
    for number in range(N_CORRUPTIONS):
        data = bytearray(stream)
        # As often in the small files as in the large ones.
        part = number % len(files)
        name = list(files)[part]
        start = stream.index(files[name])
        low, high = (0, start) if number % 7 == 0 else (start, start + len(files[name]))
        for place in rng.integers(low, high, rng.integers(1, 4)):
            data[place] ^= rng.integers(1, 256)
        with suppress(DanceSamplerError):
            shutil.rmtree(source, ignore_errors=True)
            source.mkdir()
            for each, content in unpack_bundle(bytes(data)).items():
                (source / each).write_bytes(content)
            install_bundle(source, shell.state, allowed_signers=shell.folder / "allowed", require_signature=True)
    assert played == []
    assert installed_bundles(shell.state) == []


def test_takes_are_listed_with_their_hashes_and_pulled_from_anywhere(shell: Shell) -> None:
    settings = MotionSettings(height=4, width=6)
    writer = TakeWriter(shell.state / "takes", settings, 16_000, {})
    writer.add_columns(np.ones((30, 10), np.float32), np.arange(30) / 25.0)
    writer.add_sound(np.arange(20_000, dtype=np.int16), 0.0)
    take = writer.finish()
    unfinished = TakeWriter(shell.state / "takes", settings, 16_000, {})
    for _ in range(2):  # the second time, hashes are remembered
        (row,) = shell.ask("list")["takes"]
        assert (row["number"], row["cancelled"]) == (1, False)
        for name in TAKE_FILES:
            data = (take.path / name).read_bytes()
            assert row["files"][name] == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            assert shell.raw(f"pull-take 1 {name} 0") == (0, data)
            assert shell.raw(f"pull-take 1 {name} {len(data) - 5}") == (0, data[-5:])
    assert "has no byte" in shell.ask("pull-take 1 take.json 100000000")["error"]
    for number in (2, 3):
        assert "no whole take" in shell.ask(f"pull-take {number} columns.bin 0")["error"]
    unfinished.close()


def test_the_log_of_a_box_that_does_not_run(shell: Shell) -> None:
    answer = shell.ask("log 5")
    assert "lines" in answer or "no journal" in answer["error"]


@pytest.fixture(scope="module")
def bad_bundles() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_bundles(folder)
        make_trial_bundles(folder)
        yield folder


@pytest.mark.parametrize(
    ("name", "limits", "why"),
    [
        ("greedy", Limits(memory_bytes=256 << 20), "bad_alloc|memory|brings the runtime down"),
        ("heavy", Limits(run_ms=2.0), "too slow for this box"),
        ("hanging", Limits(time_s=4.0, memory_bytes=2 << 30), "more than 4 s"),
        ("wrong", Limits(), "off its golden outputs"),
    ],
)
def test_a_model_that_does_harm_is_refused_before_it_is_heard(
    bad_bundles: Path, tmp_path: Path, name: str, limits: Limits, why: str
) -> None:
    with pytest.raises((BundleError, ModelError), match=why):
        install_bundle(bad_bundles / name, tmp_path, allowed_signers=None, require_signature=False, limits=limits)
    assert installed_bundles(tmp_path) == []
    assert last_good(tmp_path) == FACTORY


def test_a_synth_that_is_too_slow_is_refused_before_it_is_heard(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    write_bundle(bundle, replace(MANIFEST_OF, synth=replace(MANIFEST_OF.synth, hop=1)), FILES_OF)
    (tmp_path / "state").mkdir()
    with pytest.raises(ModelError, match=r"the bundle's synth is too slow for this box: .* of its time"):
        install_bundle(bundle, tmp_path / "state", allowed_signers=None, require_signature=False)
    with pytest.raises(ModelError, match="the bundle's synth is too slow"):  # a long hop in a short block
        try_out(FACTORY, Limits(hop_ms=1e-3))


def test_a_model_that_plays_is_timed_for_this_chip(bad_bundles: Path) -> None:
    found = try_out(bad_bundles / "low", Limits())
    assert found.variant in found.p50_ms
    assert all(0.0 < p50_ms < 8.0 for p50_ms in found.p50_ms.values())
    assert 0.0 < found.synth_share < 0.5
