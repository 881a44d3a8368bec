"""Where the twin works: a scratch folder, a cache, and what must be undone in the end, whatever happens.

Owns every process that it starts and every mount that it makes. They end with it, the last first: after success, a
failure, Ctrl-C or SIGTERM; should the run itself be killed, the kernel tells its processes to end, and mounts end with
the name space that they were made in (`python -m tests.twin` has one of its own).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out/twin"
"""Not in git; `make clean` removes it."""
POLL_S = 0.05


class TwinError(RuntimeError):
    """The twin itself cannot go on: says what is missing, and what to do."""


class Workbench:
    """A scratch folder and what lives in it; a context manager.

    Parameters
    ----------
    out : Path, optional
        Scratch folders and cache lie in it.
    n_times : float, optional
        How much longer than usual everything may take: `--patience`, for a busy machine.
    """

    def __init__(self, out: Path = OUT, n_times: float = 1.0) -> None:
        self.cache, self._out, self._n_times = out / "cache", out, n_times
        self._exits = ExitStack()
        self._before: Any = None

    def __enter__(self) -> Workbench:
        self.cache.mkdir(parents=True, exist_ok=True)
        _sweep(self._out)
        # Short, for sockets lie in it.
        self.folder = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=self._out))
        # systemd in a container, and its sshd, go through it as other users.
        self.folder.chmod(0o755)
        self._exits.callback(self._remove_folder)
        self._before = signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave half of it behind.
        impatient = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._exits.__exit__(kind, error, trace)
        finally:
            signal.signal(signal.SIGINT, impatient)
            signal.signal(signal.SIGTERM, self._before)

    def on_exit(self, undo: Callable[[], object]) -> None:
        """Have something undone in the end, before all that came earlier."""
        self._exits.callback(undo)

    def run(self, *command: str | Path, timeout_s: float = 300.0, **options: Any) -> str:
        """Run a command to its end and give its output; what went wrong is one line.

        Raises
        ------
        TwinError
            It is missing, failed, or took too long.
        """
        asked = [str(each) for each in command]
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
        try:
            done = subprocess.run(asked, timeout=timeout_s * self._n_times, text=True, check=False, **options)
        except FileNotFoundError as error:
            raise TwinError(f"{asked[0]} is missing: make twin installs it") from error
        except subprocess.TimeoutExpired as error:
            raise TwinError(f"{' '.join(asked)}: not done after {error.timeout:.0f} s") from error
        if done.returncode:
            said = " / ".join((done.stdout or done.stderr or "").strip().splitlines()[-5:])
            raise TwinError(f"{' '.join(asked)}: exit {done.returncode}: {said}")
        return str(done.stdout or "")

    def start(
        self, *command: str | Path, log: Path, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process that lasts; it is ended with the workbench at the latest.

        Parameters
        ----------
        *command : str or Path
        log : Path
            Where what it says goes.
        environ : mapping of str to str, optional
            Beside ours.
        """
        with log.open("ab") as said:
            process = self._spawn(command, said, environ)
        self.on_exit(lambda: end(process))
        return process

    def eventually(self, condition: Callable[[], object], what: str, patience_s: float = 30.0) -> float:
        """Wait until a condition holds, and give how long that took, in seconds.

        Raises
        ------
        AssertionError
            It does not hold in time.
        """
        begun_s = time.monotonic()
        while not condition():
            waited_s = time.monotonic() - begun_s
            assert waited_s < patience_s * self._n_times, f"not within {waited_s:.0f} s: {what}"
            time.sleep(POLL_S)
        return time.monotonic() - begun_s

    def cached(self, name: str, make: Callable[[Path], object]) -> Path:
        """Give a file or folder of the cache, made by `make(path)` where it is not there yet, whole or not at all."""
        path = self.cache / name
        if not path.exists():
            part = Path(tempfile.mkdtemp(prefix="part-", dir=self.cache)) / path.name
            self.on_exit(lambda: shutil.rmtree(part.parent, ignore_errors=True))
            make(part)
            if not path.exists():  # another run may have been faster
                part.rename(path)
        return path

    def leftovers(self) -> list[str]:
        """What of this run is still there beside its folder: mounts, processes, loop devices."""
        folder = str(self.folder)
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if folder in line]
        loops = [str(each) for each in Path("/sys/block").glob("loop*/loop/backing_file") if folder in each.read_text()]
        return [*mounts, *(f"process {each}" for each in processes_of(self.folder)), *loops]

    def _spawn(
        self, command: Sequence[str | Path], said: IO[bytes], environ: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        # A session of its own, for Ctrl-C is for us; and it ends with us, however we end.
        asked = ["setpriv", "--pdeathsig", "TERM", "--", *map(str, command)]
        return subprocess.Popen(
            asked, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            env={**os.environ, **(environ or {})},
        )  # fmt: skip

    def _remove_folder(self) -> None:
        left = self.leftovers()
        shutil.rmtree(self.folder, ignore_errors=bool(left))
        if left:
            raise TwinError(f"the twin left behind: {', '.join(left)}: end and unmount these by hand")


def end(process: subprocess.Popen[bytes], grace_s: float = 20.0) -> None:
    """End a process that was started: asked first, then forced."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def processes_of(folder: Path) -> list[int]:
    """Give the numbers of the processes, beside this one, that were started with this folder or live in it."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            lives_in = [str((each / name).readlink()) for name in ("cwd", "root")]
            said = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if int(each.name) != os.getpid() and any(str(folder) in text for text in (*lives_in, said)):
            found.append(int(each.name))
    return found


def _sweep(out: Path) -> None:
    """Remove the folders of runs that were killed; their mounts and processes have ended with them."""
    for folder in out.glob("run-*-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
