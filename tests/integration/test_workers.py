"""Workers: real processes on loopback that train one model, and what becomes of the others when one is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from device.core.errors import UsageError
from device.core.motiongram import MotionSettings
from device.store.store import TakeWriter
from tests.eventually import eventually
from tests.long import long
from trainer.data.prepare import Segments
from trainer.learning.crew import crew_of
from trainer.learning.worker import part_of

pytestmark = pytest.mark.timeout(600)

RATE_HZ = 48000
TRAIN = """
import sys
from device.cli import Command, run
from trainer import settings

settings.PRESETS["quick"] = settings.Preset(n_steps=N_STEPS, batch_size=16, n_hidden=32, n_filters=8, n_epochs=N_EPOCHS)
if __name__ == "__main__":
    commands = {"train": Command("trainer.learning.command", "")}
    sys.exit(run("trainer", "", commands, ["train", "--seed", "7", *sys.argv[1:]]))
"""
STEPS = """
import sys
import numpy as np
from tests.tiny_examples import TINY, WholeBatches, weights_after
from trainer.backend import tf
from trainer.learning.team import Team

index = int(sys.argv[1])
team = Team() if index < 0 else Team(tf.distribute.MultiWorkerMirroredStrategy(), index, 2)
np.savez(sys.argv[2], *weights_after(WholeBatches(TINY, max(index, 0)), team, 3))
team.agree(0.0)
"""


def two_configs() -> list[dict[str, str]]:
    """Environments of two workers on loopback."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(2)]
    return [{**os.environ, "TF_CONFIG": json.dumps(task)} for task in tasks]


def test_a_step_of_two_workers_is_the_step_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    jobs = [(-1, dict(os.environ)), *enumerate(two_configs())]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STEPS, str(index), str(tmp_path / f"{index}.npz")], env=env, stderr=subprocess.PIPE
        )
        for index, env in jobs
    ]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
    alone, *workers = (list(np.load(tmp_path / f"{index}.npz").values()) for index, _ in jobs)
    assert len(alone) > 20
    for found in workers:
        for one, other in zip(alone, found, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short takes: a tone that is as loud as the motion."""
    folder = tmp_path_factory.mktemp("takes")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        times_s = np.arange(800) / 50
        quantity = np.clip(np.sin(times_s * 2 + seed), 0, 1)
        samples = np.arange(16 * RATE_HZ) / RATE_HZ
        sound = 0.3 * np.interp(samples, times_s, quantity) * np.sin(2 * np.pi * 440 * samples)
        writer = TakeWriter(folder, MotionSettings(), RATE_HZ, {"name": f"test {seed}"})
        writer.add_columns((quantity[:, np.newaxis] * rng.uniform(2, 6, (800, 112))).astype(np.float32), times_s)
        writer.add_sound(sound.astype(np.float32), 0.0)
        writer.finish()
    return folder


def train(
    script: Path, takes: Path, run: Path, *options: object, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    line = [sys.executable, script, "--takes", takes, "--run", run, *options]
    environment = {**(env or os.environ), "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        list(map(str, line)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def script(folder: Path, n_steps: int, n_epochs: int) -> Path:
    path = folder / f"train_{n_steps}.py"
    path.write_text(TRAIN.replace("N_STEPS", str(n_steps)).replace("N_EPOCHS", str(n_epochs)))
    return path


def wait_for_checkpoint(run: Path, process: subprocess.Popen[str]) -> None:
    checkpoint = run / "checkpoints" / "checkpoint"
    eventually(
        lambda: process.poll() is not None or (checkpoint.exists() and "ckpt-2" in checkpoint.read_text()),
        "a second checkpoint",
        300.0,
    )
    assert process.poll() is None, process.communicate()


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Processes that train, of those that a command started, in their order."""
    pids = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    return sorted(pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())


def is_gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def held_out_error(out: str) -> float:
    found = re.search(r"held-out error ([0-9.]+)", out)
    assert found, out
    return float(found[1])


def kill_one_of_two(takes: Path, run: Path, program: Path) -> int:
    """Start two workers, kill the second; the epochs that are saved, as the one line says."""
    process = train(program, takes, run, "--workers", 2)
    wait_for_checkpoint(run, process)
    first, second = workers_of(process)
    killed_s = time.monotonic()
    os.kill(second, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert time.monotonic() - killed_s < 60
    assert (process.returncode, out, err.count("\n")) == (1, "", 1), err
    assert "worker 2 of 2 was killed (SIGKILL)" in err
    saved = re.search(r"epoch (\d+) of 10000 is saved", err)
    assert saved is not None, err
    assert f"--resume --run {run}" in err
    assert is_gone(first), "the others stop, too"
    return int(saved[1])


def test_a_worker_that_is_killed_ends_the_run_in_one_line(takes: Path, tmp_path: Path) -> None:
    assert kill_one_of_two(takes, tmp_path / "run", script(tmp_path, 40_000, 10_000)) >= 2


@long
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_run_whose_worker_was_killed_goes_on_from_its_last_checkpoint(
    takes: Path, tmp_path: Path, n_workers: int
) -> None:
    run = tmp_path / "run"
    n_epochs = kill_one_of_two(takes, run, script(tmp_path, 40_000, 10_000)) + 3
    # The same run, as short as it is by now.
    facts = json.loads((run / "run.json").read_text())
    facts["settings"]["preset"] |= {"n_epochs": n_epochs, "n_steps": 4 * n_epochs}
    (run / "run.json").write_text(json.dumps(facts))
    line = [sys.executable, "-m", "trainer", "train", "--resume", "--run", str(run), "--workers", str(n_workers)]
    resumed = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    epochs = [int(line.split(",")[0]) for line in (run / "curves.csv").read_text().splitlines()[1:]]
    assert epochs == list(range(1, n_epochs + 1)), "it went on from what was saved"
    assert (run / "model.weights.h5").exists()


@long
def test_workers_that_tf_config_names_end_when_one_is_killed(takes: Path, tmp_path: Path) -> None:
    """Two commands, as on two machines: nobody watches both."""
    endless, run = script(tmp_path, 40_000, 10_000), tmp_path / "run"
    first, second = (train(endless, takes, run, env=env) for env in two_configs())
    wait_for_checkpoint(run, first)
    (worker,) = workers_of(second)
    killed_s = time.monotonic()
    os.kill(second.pid, signal.SIGKILL)
    out, err = first.communicate(timeout=120)
    assert time.monotonic() - killed_s < 60
    assert (first.returncode, out, err.count("\n")) == (1, "", 1), err
    assert "another worker of this run has ended" in err
    second.communicate()
    assert is_gone(worker), "a worker ends with the command that started it"


@long
def test_one_and_two_workers_learn_as_well(takes: Path, tmp_path: Path) -> None:
    """Held-out errors no further apart than those of one alone with other seeds, 0.27 to 0.50 for four of them."""
    whole = script(tmp_path, 1200, 4)
    errors = []
    for n_workers in (1, 2):
        process = train(whole, takes, tmp_path / f"{n_workers}", "--workers", n_workers)
        out, err = process.communicate(timeout=400)
        assert (process.returncode, err) == (0, ""), err
        errors.append(held_out_error(out))
    assert max(errors) < 0.6
    assert errors[1] == pytest.approx(errors[0], abs=0.2)


@pytest.mark.parametrize(
    ("workers", "config", "says"),
    [
        ("0", "", "1 to 64"),
        ("many", "", "1 to 64"),
        ("3", "", "dealt out"),
        ("auto", "{", "cannot be read"),
        ("auto", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}', "none with this"),
        ("auto", '{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}, "task": {"type": "ps", "index": 0}}', "others than"),
        ("4", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}', "names 2"),
    ],
)
def test_wrong_use_is_said(monkeypatch: pytest.MonkeyPatch, workers: str, config: str, says: str) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UsageError, match=says):
        crew_of(workers, 64)


def test_a_machine_with_several_gpus_is_one_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr("trainer.learning.crew.GPUS", tmp_path)
    (tmp_path / "0000:01:00.0").mkdir()
    assert crew_of("auto", 64) is None
    (tmp_path / "0000:02:00.0").mkdir()
    crew = crew_of("auto", 64)
    assert crew is not None
    assert (len(crew.addresses), crew.indices, crew.has_chief) == (1, [0], True)
    assert crew_of("1", 64) is None


@long
def test_a_worker_with_all_its_gpus_trains_as_one_alone(takes: Path, tmp_path: Path) -> None:
    """Where there are none, its copy of the model is on the processor."""
    (tmp_path / "gpus" / "0").mkdir(parents=True)
    (tmp_path / "gpus" / "1").mkdir()
    path = script(tmp_path, 48, 4)
    imports = "from pathlib import Path\nfrom trainer.learning import crew\n"
    path.write_text(f"{imports}crew.GPUS = Path({str(tmp_path / 'gpus')!r})\n{path.read_text()}")
    out, err = train(path, takes, tmp_path / "run").communicate(timeout=300)
    assert err == ""
    assert held_out_error(out) > 0
    assert len((tmp_path / "run" / "curves.csv").read_text().splitlines()) == 5


def test_who_trains_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert crew_of("auto", 64) is None
    assert crew_of("1", 64) is None
    here = crew_of("2", 64)
    assert here is not None
    assert (len(set(here.addresses)), here.indices, here.has_chief) == (2, [0, 1], True)
    monkeypatch.setenv("TF_CONFIG", two_configs()[1]["TF_CONFIG"])
    there = crew_of("auto", 64)
    assert there is not None
    assert (there.indices, there.has_chief) == ([1], False)


@pytest.mark.parametrize("n_parts", [1, 2, 3, 8])
def test_parts_are_equal_and_nothing_is_in_two(n_parts: int) -> None:
    segments = Segments(np.repeat(np.arange(4, dtype=np.int32), 25), np.arange(100, dtype=np.int32))
    parts = [part_of(segments, index, n_parts) for index in range(n_parts)]
    assert np.array_equal(np.concatenate([part.column_index for part in parts]), segments.column_index)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(len(np.unique(part.take_index)) <= 4 // n_parts + 2 for part in parts)
