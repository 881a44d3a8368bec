"""Peers in the bench: one that runs is timed, one that does not is said to be missing, and why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device.models.bundles import FACTORY
from tests.bench.bench import CLIP, ROOT, Bench, Effort, Show, open_bench
from tests.bench.peers import measure_peers

PEER = """\
import sys, time
from types import SimpleNamespace
from peer_programs.timing import real_time_factor, report

def play(n_samples):
    until_s = time.process_time() + 0.25 * n_samples / 8000
    while time.process_time() < until_s:
        pass
    return SimpleNamespace(shape=(1, n_samples - LOST))

LOST = 0
figures = [real_time_factor(play, n, n, 8000, float(sys.argv[1])) for n in (256, 2048)]
report("Quarter", "quarter 1.0", 2_500_000, figures)
"""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return open_bench(Show(FACTORY, CLIP), Effort(n_frames=60, peer_s=0.5))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a peer's program is found."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def test_a_peer_is_timed_beside_ours(bench: Bench, programs: Path) -> None:
    (programs / "quarter.py").write_text(PEER)
    section = measure_peers(bench, Path(sys.executable), {"Q": "quarter"})
    _, _, ours, ours_large, small, large = rows(section.text)
    assert (ours[2:4], ours_large[2:4]) == (["48000", "128"], ["48000", "2048"])
    assert small[:5] == ["Quarter", "2.50 million", "8000", "256", "32"]
    assert large[:5] == ["Quarter", "2.50 million", "8000", "2048", "256"]
    assert 0.25 <= float(large[5]) < 0.5
    assert all(0.0 < float(row[5]) < 1.0 for row in (ours, ours_large))
    assert float(large[6]) == pytest.approx(float(large[5]) / float(ours_large[5]), rel=0.05)
    assert "quarter 1.0" in section.text
    assert f"Quarter takes {large[6]} times as long as ours" in section.text
    assert "not measured" not in section.text


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import torch_of_nobody", "ModuleNotFoundError: No module named 'torch_of_nobody'"),
        ("raise SystemExit(3)", "it said nothing"),
        ("print('not JSON')", "it did not say its figures"),
        (PEER.replace("LOST = 0", "LOST = 1"), "a block of 255 samples came, not of 256"),
    ],
)
def test_a_peer_that_fails_is_said_to_be_missing(bench: Bench, programs: Path, source: str, why: str) -> None:
    (programs / "broken.py").write_text(source)
    section = measure_peers(bench, Path(sys.executable), {"Broken": "broken"})
    assert rows(section.text)[-1] == ["Broken", "", "", "", "", "not measured", ""]
    assert f"Broken: not measured: {why}." in section.text


def test_peers_that_are_not_installed_are_said_to_be_missing_and_why(bench: Bench, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    assert "it is not installed: run make bench." in measure_peers(bench, python).text
    python.parents[1].mkdir()
    (python.parents[1] / "why-not").write_text("Reading\nE: Unable to locate package python3-torch\n\n")
    text = measure_peers(bench, python).text
    assert text.count("not measured: E: Unable to locate package python3-torch.") == 2


def test_stand_ins_have_what_is_asked_for_and_only_in_their_place() -> None:
    source = """\
from peer_programs.stand_ins import stand_in_for
stand_in_for("lightning")
import lightning.callbacks as callbacks
from lightning import *
class Mine(callbacks.Checkpoint): pass
Mine(); lightning = __import__("lightning"); lightning.core.seed.Everything()
import json; json.loads("1")
try: import lightning_of_nobody
except ModuleNotFoundError: print("done")
"""
    ran = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT / "tests/bench", capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("done\n", "")


@pytest.mark.parametrize(
    ("arguments", "are_wanted"),
    [([], True), (["BENCH_ARGS=--only growth"], False), (["BENCH_ARGS=--only peers"], True)],
)
def test_make_installs_peers_for_the_bench_only_and_goes_on_without(arguments: list[str], are_wanted: bool) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for target in ("bench", "test"):
        made = subprocess.run(
            ["make", "--dry-run", target, "PEERS=out/no-peers", *arguments],
            cwd=ROOT, env=clean, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert ("out/no-peers" in made.stdout) == (are_wanted and target == "bench")


@pytest.mark.parametrize(
    ("installed", "user", "why"),
    [
        ("torch", "1000", "/no/such/python"),
        ("other", "1000", "packages are missing; run: sudo apt-get install -y torch"),
        ("other", "0", "E: Unable to locate package torch"),
    ],
)
def test_make_says_why_peers_cannot_be_installed(tmp_path: Path, installed: str, user: str, why: str) -> None:
    programs = {
        "id": f"echo {user}",
        "dpkg-query": f"echo installed {installed}",
        "apt-get": "echo E: Unable to locate package torch >&2; exit 100",
    }
    for name, source in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{source}\n")
        (tmp_path / name).chmod(0o755)
    python = "/no/such/python" if installed == "torch" else sys.executable
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    peers = tmp_path / "peers"
    made = subprocess.run(
        ["make", str(peers / "ready"), f"PEERS={peers}", f"PEERS_READY={peers}/ready", "PEER_PACKAGES=torch",
         f"PEER_PYTHON={python}"],
        cwd=ROOT, env={**clean, "PATH": f"{tmp_path}:{clean['PATH']}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "The peers cannot be measured: " in made.stdout
    assert why in made.stdout.splitlines()[-1]
    assert why in (peers / "why-not").read_text().splitlines()[-1]
    assert [path.name for path in peers.iterdir()] == ["why-not"]
