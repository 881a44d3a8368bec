"""A machine: QEMU emulates a PC with a USB sound card and a hardware watchdog, and its monitor pulls what it has.

Nothing here asks the processor for virtualisation, so all of it runs wherever QEMU does. Its clock counts instructions,
two nanoseconds each: however busy the machine is that this runs on, the emulated one finds itself just as fast, and no
time-out in it comes early. So its seconds are its own, and longer than ours.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.twin.workbench import TwinError, Workbench, end

QMP_S = 60.0
"""A monitor that has not answered by then is stuck."""
EMULATOR = (
    "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=single,tb-size=512", "-icount", "shift=1",
    "-cpu", "Nehalem", "-smp", "1", "-m", "1536", "-nodefaults", "-display", "none",
    "-action", "watchdog=reset", "-device", "virtio-rng-pci", "-device", "i6300esb", "-device", "qemu-xhci,id=xhci",
)  # fmt: skip
COMMAND_LINE = "root=LABEL=root console=ttyS0 mitigations=off quiet loglevel=4"
SOUND_RATE_HZ = 48_000
SOUND_FRAME_BYTES = 4
SOUND_HEAD_BYTES = 44
"""What the card has played is a WAV file of 16 bits in two channels."""
SOUND_ID = "card"


@dataclass(frozen=True)
class Drive:
    """A disk of a machine.

    Attributes
    ----------
    path : Path
    form : str
        'raw' or 'qcow2'.
    is_snapshot : bool
        What is written to it is lost with the machine.
    """

    path: Path
    form: str = "qcow2"
    is_snapshot: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """QEMU's."""
        snapshot = ",snapshot=on" if self.is_snapshot else ""
        return ("-drive", f"file={self.path},format={self.form},if=virtio{snapshot}")


@dataclass(frozen=True)
class Hardware:
    """What a machine is made of.

    Attributes
    ----------
    kernel, initrd : Path
    drives : sequence of Drive
        The first ones of the machine; named vda, vdb and so on.
    more : sequence of str
        Further options of QEMU's, such as drives of another kind.
    append : str
        Further words on the kernel's command line.
    has_card : bool
        Whether the USB sound card is plugged in from the start.
    is_reset_the_end : bool
        Whether a reset ends the machine, as switching it off does.
    """

    kernel: Path
    initrd: Path
    drives: Sequence[Drive]
    more: Sequence[str] = ()
    append: str = "rw"
    has_card: bool = True
    is_reset_the_end: bool = False


@dataclass
class Machine:
    """A machine that is switched on when it is made, and that ends with the workbench at the latest.

    Parameters
    ----------
    work : Workbench
    hardware : Hardware
    folder : Path
        Its own, for its sockets, its console and its sound.

    Attributes
    ----------
    port : int
        On loopback; the guest's port 22 is behind it.
    console : Path
        What its kernel and systemd say.
    sound : Path
        A WAV file of what its card has played until now: only while something plays, and its header is not kept up.
    events : list of dict
        What its monitor has told of itself, as far as somebody asked it something.
    """

    work: Workbench
    hardware: Hardware
    folder: Path
    port: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        self.console, self.sound = self.folder / "console.log", self.folder / "out.wav"
        self._log, self._monitor = self.folder / "qemu.log", self.folder / "qmp"
        self._monitor.unlink(missing_ok=True)
        self.process = self.work.start(*self.command(), log=self._log)
        self._connect()

    def command(self) -> list[str]:
        """Give the command that emulates it."""
        hardware = self.hardware
        drives = [option for drive in hardware.drives for option in drive.options]
        return [
            *EMULATOR, *drives, *hardware.more,
            "-kernel", str(hardware.kernel), "-initrd", str(hardware.initrd),
            "-append", f"{COMMAND_LINE} {hardware.append}".strip(),
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device", "virtio-net-pci,netdev=net,romfile=",
            "-audiodev", f"wav,id=sound,path={self.sound},out.frequency={SOUND_RATE_HZ}",
            *(("-device", f"usb-audio,audiodev=sound,id={SOUND_ID},bus=xhci.0") if hardware.has_card else ()),
            "-serial", f"file:{self.console}", "-qmp", f"unix:{self._monitor},server=on,wait=off",
            *(("-no-reboot",) if hardware.is_reset_the_end else ()),
        ]  # fmt: skip

    @property
    def is_on(self) -> bool:
        """Whether it is switched on."""
        return self.process.poll() is None

    def ask(self, what: str, **arguments: Any) -> Any:
        """Ask its monitor (QMP) for something.

        Raises
        ------
        TwinError
            It is off, does not answer, or refuses.
        """
        self._send({"execute": what, "arguments": arguments})
        while "return" not in (answer := self._receive()):
            if "error" in answer:
                raise TwinError(f"the machine's monitor refuses {what}: {answer['error'].get('desc')}")
        return answer["return"]

    def hear(self) -> list[str]:
        """Give the names of all that its monitor has told until now, the oldest first."""
        with suppress(TwinError):
            self.ask("query-status")
        return [str(event["event"]) for event in self.events]

    def unplug_card(self) -> None:
        """Pull the USB sound card out."""
        self.ask("device_del", id=SOUND_ID)

    def plug_card(self) -> None:
        """Put the USB sound card in."""
        self.ask("device_add", driver="usb-audio", audiodev="sound", id=SOUND_ID, bus="xhci.0")

    def cut_power(self) -> None:
        """Switch it off without a word: what the guest has written lies in the drives, what it has not is lost."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Switch it off and let all of it go."""
        end(self.process)
        self._socket.close()

    def played_s(self) -> float:
        """Tell how much sound its card has played, in seconds."""
        size = self.sound.stat().st_size if self.sound.exists() else 0
        return max(0, size - SOUND_HEAD_BYTES) / SOUND_FRAME_BYTES / SOUND_RATE_HZ

    def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self.work.eventually(self._try_to_connect, "the machine's monitor answers", QMP_S)
        self._socket.settimeout(QMP_S)
        self._reader = self._socket.makefile("rb")
        self._receive()  # its greeting
        self.ask("qmp_capabilities")

    def _try_to_connect(self) -> bool:
        if not self.is_on:
            said = self._log.read_text(errors="replace").strip().splitlines()[-3:]
            raise TwinError(f"the machine cannot be switched on: {' / '.join(said)}")
        try:
            self._socket.connect(str(self._monitor))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def _send(self, request: Mapping[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise TwinError(f"the machine's monitor is gone ({error.strerror}): the machine is off") from error

    def _receive(self) -> dict[str, Any]:
        """Give the next answer; events before it are kept."""
        while True:
            line = self._reader.readline()
            if not line:
                raise TwinError("the machine's monitor is gone: the machine is off")
            said: dict[str, Any] = json.loads(line)
            if "event" not in said:
                return said
            self.events.append(said)


def free_port() -> int:
    """Give a port on loopback that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
