"""Drivers that Debian's kernel is built without: simulated pins, and a camera as libcamera knows one.

Both are built from Debian's own source of that kernel. They are changed only in what lets them be modules of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.twin.workbench import TwinError, Workbench

PINS, CAMERA = "drivers/gpio", "drivers/media/test-drivers/vimc"
FRAME_MAX = {"VIMC_FRAME_MAX_WIDTH": 640, "VIMC_FRAME_MAX_HEIGHT": 480}
"""Larger pictures would take an emulated machine seconds each."""
BUILD = "/root/drivers"
CAMERA_OBJECTS = ("core", "common", "streamer", "capture", "debayer", "scaler", "sensor", "lens")
MAKEFILES = {
    "gpio-sim": "obj-m := gpio-sim.o\ngpio-sim-y := gpio_sim.o irq_sim.o\n",
    "vimc": f"obj-m := vimc.o\nvimc-y := {' '.join(f'vimc-{each}.o' for each in CAMERA_OBJECTS)}\n",
}


def build(work: Workbench, root: Path, in_root: Callable[[str], str]) -> None:
    """Build the drivers in a root that has the kernel's source and headers, and install them there.

    Parameters
    ----------
    work : Workbench
    root : Path
    in_root : callable
        Runs a command line of a shell in it.

    Raises
    ------
    TwinError
        The kernel's source is not what it was.
    """
    packed = max((root / "usr/src").glob("linux-source-*.tar.xz"))
    source, drivers = root / "root/linux", root / BUILD.lstrip("/")
    source.mkdir(parents=True)
    top = packed.name.removesuffix(".tar.xz")
    wanted = [f"{top}/{each}" for each in (f"{PINS}/gpio-sim.c", f"{PINS}/gpiolib.h", "kernel/irq/irq_sim.c", CAMERA)]
    work.run("tar", "-x", "-J", "-f", packed, "-C", source, "--strip-components=1", *wanted, timeout_s=600.0)
    for name, text in MAKEFILES.items():
        (drivers / name).mkdir(parents=True)
        (drivers / name / "Makefile").write_text(text)
    (drivers / "gpio-sim/gpio_sim.c").write_text((source / PINS / "gpio-sim.c").read_text())
    (drivers / "gpio-sim/gpiolib.h").write_text((source / PINS / "gpiolib.h").read_text())
    (drivers / "gpio-sim/irq_sim.c").write_text(own_irq_sim((source / "kernel/irq/irq_sim.c").read_text()))
    for path in (source / CAMERA).glob("*.[ch]"):
        (drivers / "vimc" / path.name).write_text(small_frames(path.read_text()))
    kernel = next((root / "lib/modules").iterdir()).name
    for name in MAKEFILES:
        in_root(f"make -s -j2 -C /lib/modules/{kernel}/build M={BUILD}/{name} modules")
        in_root(f"install -D -m 644 {BUILD}/{name}/{name}.ko /lib/modules/{kernel}/extra/{name}.ko")
    in_root(f"depmod {kernel}; rm -rf {BUILD} /root/linux")


def own_irq_sim(text: str) -> str:
    """Make the kernel's simulated interrupts a part of the module that uses them: nothing private, nothing exported.

    Raises
    ------
    TwinError
        There is nothing in it that would have to be changed: it is another source than the one that this was made for.
    """
    private = "handle_simple_irq(irq_to_desc(irqnum));"
    if private not in text:
        raise TwinError("the kernel's irq_sim.c has changed: tests/twin/machine/drivers.py must follow it")
    kept = [line for line in text.splitlines() if not line.startswith("EXPORT_SYMBOL")]
    return "\n".join(kept).replace(private, "generic_handle_irq(irqnum);") + "\n"


def small_frames(text: str) -> str:
    """Lower the largest size of a picture, where it is defined."""
    for name, size in FRAME_MAX.items():
        text = re.sub(rf"(#define\s+{name})\s+\d+", rf"\1 {size}", text)
    return text
