"""A box that stands there: a machine with the installed image, what its owner does to it, what it says and shows."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from device.box.status_client import LONGEST_ANSWER
from tests.twin.container.box import NAME, STATE
from tests.twin.machine.follow import Written
from tests.twin.machine.guest import Guest
from tests.twin.machine.image import Image
from tests.twin.machine.qemu import SOUND_HEAD_BYTES, Drive, Hardware, Machine
from tests.twin.workbench import Workbench, end

PERFORMS_S = 180.0
"""From a start, a return or a press to what comes of it: several times what was seen."""
SILENT_S = 60.0
"""A box publishes once a second; one that has not for so long says nothing."""


class EmulatedBox:
    """A box in a machine.

    Parameters
    ----------
    work : Workbench
    image : Image
    name : str
        Of its folder; two boxes of the same name have the same disks, one after the other.
    has_card : bool
        Whether its sound card is plugged in when it is switched on.
    append : str
        Further words on the kernel's command line.
    more : sequence of str
        Further options of QEMU's, as `Hardware` takes them.
    drives : sequence of Drive, optional
        Otherwise overlays of the image's root and state, kept in its folder.

    Attributes
    ----------
    folder : Path
        Its own.
    drives : sequence of Drive
        Root and state.
    machine : Machine
    guest : Guest
    """

    def __init__(
        self,
        work: Workbench,
        image: Image,
        name: str,
        *,
        has_card: bool = True,
        append: str = "rw",
        more: Sequence[str] = (),
        drives: Sequence[Drive] | None = None,
    ) -> None:
        self.work, folder = work, work.folder / name
        if drives is None:
            drives = image.drives(work, folder)
        self._hardware = Hardware(image.kernel, image.initrd, drives, more, append, has_card)
        self.folder, self.drives, self._key = folder, drives, image.key
        self.switch_on()

    def switch_on(self, **changed: Any) -> None:
        """Switch it on, with changed hardware if asked for; it was off."""
        self.machine = Machine(self.work, replace(self._hardware, **changed), self.folder)
        self.guest = Guest(self.machine, self._key)
        self._said = self.folder / "status.jsonl"
        self._following: subprocess.Popen[bytes] | None = None

    def hang_up(self) -> None:
        """Close all connections to it."""
        self.guest.leave()
        if self._following is not None:
            end(self._following)
            self._following = None

    def switch_off(self) -> None:
        """Pull its plug."""
        self.hang_up()
        self.machine.cut_power()
        self.machine.close()

    # --- What it says ---

    def status(self) -> dict[str, Any]:
        """What it said of itself last; empty if nothing for a while."""
        if self._following is None or self._following.poll() is not None:
            self._said.unlink(missing_ok=True)
            self._following = self.guest.start("twin-follow", self._said)
        if not self._said.exists() or time.time() - self._said.stat().st_mtime > SILENT_S:
            return {}
        with self._said.open("rb") as said:
            said.seek(max(0, self._said.stat().st_size - LONGEST_ANSWER))
            lines = said.read().split(b"\n")
        try:
            return dict(json.loads(lines[-2])) if len(lines) > 1 else {}
        except ValueError:
            return {}

    def until(
        self, what: str, holds: Callable[[dict[str, Any]], object], patience_s: float = PERFORMS_S
    ) -> dict[str, Any]:
        """Wait until what it says of itself fulfils a condition, and give that.

        Raises
        ------
        AssertionError
            It does not in time; with what it says instead.
        """
        said: dict[str, Any] = {}

        def look() -> bool:
            said.clear()
            said.update(self.status())
            return bool(said) and bool(holds(said))

        try:
            self.work.eventually(look, what, patience_s)
        except AssertionError as error:
            shown = {key: said.get(key) for key in ("state", "safe", "take", "missing", "fps")}
            raise AssertionError(f"{error}; instead {shown}; {self.log(4)}") from error
        return said

    def until_state(self, *names: str, patience_s: float = PERFORMS_S) -> None:
        """Wait until it is in one of these states."""
        self.until(f"the box is {' or '.join(names)}", lambda said: said["state"] in names, patience_s)

    def performs(self, patience_s: float = PERFORMS_S) -> dict[str, Any]:
        """Wait until it performs, and lacks nothing."""
        return self.until(
            "the box performs",
            lambda said: said["state"] == "performing" and not said["missing"] and not said["safe"],
            patience_s,
        )

    def log(self, n_lines: int) -> str:
        """Give the last lines of its log, as one."""
        said = self.guest.ask(f"journalctl -t {NAME} -o cat -n {n_lines} --no-pager")
        return " / ".join(line[:160] for line in said.splitlines())

    def light(self) -> list[float]:
        """Watch its LED for two seconds: the share of each half second in which it is lit."""
        return [float(share) for share in self.guest.run("twin-led").split()]

    # --- What its owner does ---

    def press(self, seconds: float = 0.3) -> None:
        """Hold its button down for so long."""
        self.guest.run(f"twin-press {seconds:g}")

    def restart(self) -> None:
        """Start its service again, with what was changed."""
        self.guest.run(f"systemctl daemon-reload && systemctl restart --no-block {NAME}")
        self.guest.run("sleep 1")

    def takes(self) -> list[str]:
        """Give the numbers of the takes that are whole."""
        found = self.guest.run(f"cd {STATE} && ls -d takes/*/take.json 2>/dev/null || true")
        return sorted(Path(line).parent.name for line in found.splitlines())

    # --- What it plays ---

    def played(self, begin_s: float = 0.0) -> npt.NDArray[np.int16]:
        """Give what its card has played from a second of it on, one channel, as int16."""
        data = np.memmap(self.machine.sound, np.int16, "r", SOUND_HEAD_BYTES)
        left: npt.NDArray[np.int16] = np.array(data[: len(data) // 2 * 2].reshape(-1, 2)[round(48_000 * begin_s) :, 0])
        return left

    def dance(
        self, camera: str, seconds: float, speeds: Sequence[int]
    ) -> tuple[list[tuple[float, int]], list[Written]]:
        """Have what a camera shows move, each speed for so long, by the machine's clock.

        Returns
        -------
        moves : list of (float, int)
            When, and how fast; twice a second.
        written : list of Written
            How much its card had played then.
        """
        moves, written = [], []
        for line in self.guest.lines(f"twin-dance {camera} {seconds:.0f} {' '.join(map(str, speeds))}"):
            time_s, speed = line.split()
            moves.append((float(time_s), int(speed)))
            written.append(Written(float(time_s), round(48_000 * self.machine.played_s())))
        return moves, written

    def clock_s(self) -> float:
        """Read the machine's clock: since its start, in seconds."""
        return float(self.guest.run("cut -d' ' -f1 /proc/uptime"))

    def since_s(self, begun_s: float) -> float:
        """How long it took from a time on until it was in the state in which it is, by its own clock."""
        return max(0.0, self.clock_s() - float(self.status()["since_s"]) - begun_s)
