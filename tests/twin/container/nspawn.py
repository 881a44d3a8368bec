"""A machine of its own under systemd-nspawn: systemd as its first process, on this machine's kernel."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.twin.container.root import Loan
from tests.twin.workbench import TwinError, Workbench, end

BOOT_S = 60.0
GROUP = "twin"
UP = ("running", "degraded")
ADDED = ("/usr/sbin", "/sbin")
"""Where root's programs lie, wherever this runs."""
# Put before a command: a control group of its own, for two that are started here would share one and end each other's
# services.
_IN_GROUPS = 'for each in $GROUPS_OF_IT; do echo $$ >"$each/cgroup.procs" || exit 1; done; exec "$@"'


class Container:
    """A root that runs, until it is powered off or its plug is pulled.

    Parameters
    ----------
    work : Workbench
    root : Path
        See `tests.twin.container.root.layer`; it may be started again after it was stopped.
    loan : Loan, optional
        With one it is in this machine's network; otherwise it has no network but its own loopback.
    shown : sequence of (Path, str)
        Folders of this machine, and where they are seen, for reading only.
    options : sequence of str
        Further ones of systemd-nspawn.

    Attributes
    ----------
    leader : int
        Number of its first process on this machine.
    """

    def __init__(
        self,
        work: Workbench,
        root: Path,
        loan: Loan | None = None,
        shown: Sequence[tuple[Path, str]] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.root = root
        self._work, self._loan, self._shown, self._options = work, loan, shown, options
        self._process: subprocess.Popen[bytes] | None = None
        self.leader = 0
        self._groups: list[Path] = []
        work.on_exit(self.pull_the_plug)

    @property
    def log(self) -> Path:
        """What systemd-nspawn and the console said."""
        return self.root.parent / "console.log"

    @property
    def inside(self) -> Path:
        """Its files as its own processes see them, those in memory too; while it runs."""
        return Path(f"/proc/{self.leader}/root")

    @property
    def is_running(self) -> bool:
        """Whether it was switched on, and not off again from here."""
        return self._process is not None

    def boot(self, *, waits: bool = True) -> None:
        """Switch it on; wait until all that starts by itself has started, or failed."""
        assert self._process is None, "it runs already"
        self._groups = _make_groups(f"{GROUP}-{os.getpid()}-{self.root.parent.name}")
        given = dict(self._loan.environ) if self._loan else {}
        command: list[str | Path]
        command = ["systemd-nspawn", "--quiet", "--directory", self.root, "--boot", "--register=no", "--console=pipe",
                   "--link-journal=no", "--hostname=box", f"--resolv-conf={'off' if self._loan else 'delete'}",
                   "--timezone=off"]  # fmt: skip
        command += ["--keep-unit"] if self._groups else []
        command += [] if self._loan else ["--private-network"]
        command += [f"--bind-ro={each}" for each in (self._loan.folders if self._loan else ())]
        command += [f"--bind-ro={here}:{there}" for here, there in self._shown]
        command += [*(f"--setenv={name}={value}" for name, value in given.items()), *self._options]
        self._process = self._work.start(
            "sh", "-c", _IN_GROUPS, "sh", *command, log=self.log,
            environ={"GROUPS_OF_IT": " ".join(map(str, self._groups))},
        )  # fmt: skip
        self.leader = self._find_leader()
        if waits:
            self.eventually(lambda: self._state() in UP, "the container has booted", BOOT_S)

    def run(self, *command: str | Path, user: str = "", timeout_s: float = 60.0, given: str | None = None) -> str:
        """Run a command in it to its end, as root or another user, and give its output.

        Parameters
        ----------
        *command : str or Path
        user : str
        timeout_s : float
        given : str, optional
            Its standard input.

        Raises
        ------
        TwinError
            It failed: with what it said last.
        """
        returncode, said = self.ask(*command, user=user, timeout_s=timeout_s, given=given)
        if returncode:
            last = " / ".join(said.strip().splitlines()[-5:])
            raise TwinError(f"in the container: {' '.join(map(str, command))}: exit {returncode}: {last}")
        return said

    def ask(
        self, *command: str | Path, user: str = "", timeout_s: float = 60.0, given: str | None = None
    ) -> tuple[int, str]:
        """Run a command in it that may fail; give its exit status and its output."""
        done = subprocess.run(
            self.command(*command, user=user), text=True, check=False, input=given or "", errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s,
        )  # fmt: skip
        return done.returncode, done.stdout

    def command(self, *command: str | Path, user: str = "") -> list[str]:
        """Give the arguments that run a command in it from here."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        given = [f"{name}={value}" for name, value in (self._loan.environ if self._loan else ())]
        # Before this machine's environment ends, its PATH finds nsenter.
        entered = [shutil.which("nsenter") or "/usr/bin/nsenter", "--target", str(self.leader), "--all", "--"]
        home = f"HOME={'/root' if user in ('', 'root') else f'/home/{user}'}"
        clean = ["env", "-i", f"PATH={path}", "LANG=C.UTF-8", home, *given]
        as_user = ["runuser", "-u", user, "--"] if user else []
        return [*entered, *clean, *as_user, *map(str, command)]

    def eventually(self, condition: Callable[[], object], what: str, patience_s: float = 30.0) -> float:
        """As the workbench's; a container that has ended meanwhile says so."""

        def look() -> object:
            if self._process is None or self._process.poll() is not None:
                raise TwinError(f"the container has ended: {self.log.read_text(errors='replace')[-500:]}")
            return condition()

        return self._work.eventually(look, what, patience_s)

    def power_off(self) -> None:
        """Shut it down in order, as its own power switch would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._gone(60.0)

    def wait_for_its_end(self, patience_s: float = 60.0) -> None:
        """Wait until it has switched itself off."""
        if self._process is not None:
            self._gone(patience_s)

    def pull_the_plug(self) -> None:
        """End it at once. May be called twice."""
        if self._process is not None:
            if self._process.poll() is None:
                os.kill(self.leader, signal.SIGKILL)
            self._gone(20.0)

    def _gone(self, patience_s: float) -> None:
        assert self._process is not None
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.kill(self.leader, signal.SIGKILL)
            end(self._process)
            raise AssertionError(f"the container was not down after {patience_s:.0f} s") from None
        finally:
            self._process = None
            for group in self._groups:
                _remove_group(group)

    def _find_leader(self) -> int:
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task")
        found: list[int] = []

        def look() -> bool:
            found[:] = [int(each) for path in tasks.glob("*/children") for each in path.read_text().split()]
            return any(_is_first(each) for each in found)

        self.eventually(look, "systemd-nspawn starts systemd", BOOT_S)
        return next(each for each in found if _is_first(each))

    def _state(self) -> str:
        return self.ask("systemctl", "is-system-running")[1].strip()


def why_not() -> str:
    """Say why this machine cannot run containers; empty: it can."""
    if os.geteuid() != 0:
        return "containers need root: run it with sudo"
    for name in ("systemd-nspawn", "nsenter", "mmdebstrap"):
        if shutil.which(name) is None:
            return f"{name} is missing: make twin-container installs it"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "this machine does not permit namespaces" if tried.returncode else ""


def _is_first(pid: int) -> bool:
    """Whether a process is the first of its namespace and has become systemd."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return "NSpid:" in status and status.split("NSpid:")[1].splitlines()[0].split()[-1] == "1" and (
            "systemd" in Path(f"/proc/{pid}/comm").read_text() or "init" in Path(f"/proc/{pid}/comm").read_text()
        )  # fmt: skip
    except OSError:
        return False


def own_groups() -> list[Path]:
    """Give the control groups that this process has made for containers, and that are still there."""
    return [group for folder in _hierarchies() for group in folder.glob(f"{GROUP}-{os.getpid()}-*")]


def _make_groups(name: str) -> list[Path]:
    """Make a control group for a container, in every hierarchy of which systemd keeps account.

    On a machine that is itself run by systemd there is none to make: it gives the container a scope.
    """
    found = [] if Path("/run/systemd/system").is_dir() else [folder / name for folder in _hierarchies()]
    for group in found:
        group.mkdir(exist_ok=True)
    return found


def _hierarchies() -> list[Path]:
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = [(Path(fields[4]), fields[fields.index("-") + 1], fields[-1]) for fields in mounts]
    return [where for where, kind, how in kinds if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in how)]


def _remove_group(group: Path) -> None:
    """Remove a control group and those in it, all without processes by now."""
    for each in sorted(group.rglob("*"), reverse=True):
        if each.is_dir():
            each.rmdir()
    group.rmdir()
