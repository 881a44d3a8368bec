"""What a machine has that a Raspberry Pi has otherwise: a camera, an input, pins, and how its owner set the box up.

Each entry of `FILES` is a file of its root. Nothing of the box's own program, units or rules is changed; what is added
to its unit is said there.
"""

from __future__ import annotations

from tests.twin.container.box import CONFIG, STATE

BUNDLE = "/srv/light"
CARD, LOOP = "hw:CARD=Audio", "hw:CARD=Loopback"
BUTTON, LED = 17, 27
FPS = 4
PICAMERA_PACKAGES = ("picamera2==0.3.38", "pidng==4.0.9", "piexif==1.1.3", "simplejpeg==1.9.0", "libarchive-c==5.3",
                     "videodev2==0.0.4", "jsonschema==4.26.0")  # fmt: skip
"""Of Raspberry Pi OS's own packages; Debian has none of them."""
PINS_PACKAGES = ("lgpio==0.2.2.0",)

# Emulated, numpy is up to 80 times slower than on this machine: fewer frames, longer blocks, and nothing of real-time
# priority, which would leave systemd nothing.
OWNERS = f"""\
[camera]
fps = {FPS}

[audio]
period = 4096
n_periods = 4

[model]
variant = "int8"
bundle = "{BUNDLE}"

[engine]
realtime_priority = 0

[capture]
audio_in = "alsa:{LOOP},DEV=1"
buffer_s = 1.0

[panel]
factory = "lgpio"
"""

# Two cameras, of which the box watches the first; a loop that is an input; pins; the watchdog of the machine.
MODULES = "vivid\nsnd-aloop\ngpio-sim\ni6300esb\n"
MODULE_OPTIONS = "options vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,0\n"
NETWORK = "[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\n"
# As the guide says, but for the time that an emulated disk may take to appear.
TABLE = f"LABEL=dance-state {STATE} ext4 defaults,noatime,nofail,x-systemd.device-timeout=90s 0 2\n"
# Under this name libcamera's memory lies on a Pi.
RULES = 'SUBSYSTEM=="dma_heap", KERNEL=="system", SYMLINK+="dma_heap/vidbuf_cached"\n'
PROCESSOR = "processor\t: 0\nHardware\t: BCM2835\nRevision\t: c03111\nModel\t\t: Raspberry Pi 4 Model B Rev 1.1\n"
# gpiozero reads there which Pi it is; a machine this slow has more time to start and to answer.
DROP_IN = """\
[Service]
BindReadOnlyPaths=/etc/twin/cpuinfo:/proc/cpuinfo
TimeoutStartSec=600
WatchdogSec=90
"""
PINS_UNIT = """\
[Unit]
Description=A chip of pins, as a Pi has one from the start
DefaultDependencies=no
Wants=sys-kernel-config.mount
After=systemd-modules-load.service sys-kernel-config.mount
Before=dance-sampler.service sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mkdir -p /sys/kernel/config/gpio-sim/pi/pins && cd /sys/kernel/config/gpio-sim/pi && \
echo 54 >pins/num_lines && echo 1 >live'

[Install]
WantedBy=sysinit.target
"""
PYKMS = '''\
"""Stands in for Raspberry Pi OS's python3-kms++, which picamera2 imports to show pictures on a screen."""


class _Formats:
    def __getattr__(self, name):
        return name


PixelFormat = _Formats()
'''
# What the box says of itself, again and again, from one connection: to ask it anew each time would keep it busy.
FOLLOW = """\
#!/usr/bin/python3 -IS
import socket, time

while True:
    try:
        box = socket.socket(socket.AF_UNIX)
        box.settimeout(60)
        box.connect("/run/dance-sampler/status")
        box.sendall(b'{"op": "follow"}\\n')
        for line in box.makefile():
            print(line, end="", flush=True)
    except OSError:
        pass
    print("{}", flush=True)
    time.sleep(2)
"""
# Moves what a camera sees: `twin-dance /dev/videoN SECONDS SPEED...`; says every half second, by the machine's clock,
# how fast, 0 (not at all) to 3.
DANCE = """\
#!/bin/sh
camera=$1 seconds=$2
shift 2
v4l2-ctl -d "$camera" -c osd_text_mode=2
for speed; do
    v4l2-ctl -d "$camera" -c horizontal_movement=$((3 + speed)) || exit 1
    beats=$((2 * seconds))
    while [ $beats -gt 0 ]; do
        read now rest </proc/uptime
        echo "$now $speed"
        sleep 0.5
        beats=$((beats - 1))
    done
done
v4l2-ctl -d "$camera" -c horizontal_movement=3
"""
# Two seconds of what the LED does, as shares of the time in which it is lit, half a second each.
LED_WATCH = f"""\
#!/usr/bin/python3 -IS
import glob, time

path = glob.glob("/sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio{LED}/value")[0]
begun = time.monotonic()
seen = [[], [], [], []]
while (now := time.monotonic() - begun) < 2.0:
    with open(path) as pin:
        seen[int(2.0 * now)].append(int(pin.read()))
    time.sleep(0.003)
print(*(round(sum(each) / max(1, len(each)), 2) for each in seen))
"""
PRESS = f"""\
#!/bin/sh
# twin-press SECONDS: the button is down for so long.
cd /sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio{BUTTON} &&
    echo pull-down >pull && sleep "$1" && echo pull-up >pull
"""

FILES = {
    "etc/dance-sampler/config.toml": OWNERS,
    "etc/modules-load.d/twin.conf": MODULES,
    "etc/modprobe.d/twin.conf": MODULE_OPTIONS,
    "etc/systemd/network/10-twin.network": NETWORK,
    "etc/fstab": TABLE,
    "etc/udev/rules.d/71-twin.rules": RULES,
    "etc/twin/cpuinfo": PROCESSOR,
    "etc/systemd/system/dance-sampler.service.d/twin.conf": DROP_IN,
    "etc/systemd/system/twin-pins.service": PINS_UNIT,
    "etc/hostname": "dance\n",
    # Its owner's patience is not an attack, however slow it is.
    "etc/ssh/sshd_config.d/twin.conf": "PerSourcePenalties no\nLoginGraceTime 600\n",
    "etc/hosts": "127.0.0.1 localhost dance\n",
}
PROGRAMS = {
    "usr/local/bin/twin-follow": FOLLOW,
    "usr/local/bin/twin-dance": DANCE,
    "usr/local/bin/twin-led": LED_WATCH,
    "usr/local/bin/twin-press": PRESS,
}
assert f"/{next(iter(FILES))}" == CONFIG
