"""The installer as its user runs it: from nothing, again, to a newer version, to one that does not work, and away."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from device.models.bundles import FACTORY, write_bundle
from device.models.model_trial import COMMITTED, ROLLED_BACK
from tests.tone_bundles import read_files
from tests.twin.container.box import CONFIG, NAME, STATE, Box, previous_release
from tests.twin.container.root import debian_root
from tests.twin.container.stage import LAYER, SUITES, Stage, Try, furnish
from tests.twin.results import Check
from tests.twin.workbench import TwinError

INSTALLER = "deploy/install.sh"
HEARD = 0.01
"""Root mean square of what is more than silence."""
N_TRIALS = 4
UNSIGNED = "require_signature = false\n"
# What Debian's own programs write, and what this container was given beside a box.
NOT_OURS = re.compile(
    r"/(home|root|srv|tmp|dev|proc|sys|run|boot)/|/var/(log|cache|tmp|backups)/|/var/lib/(apt|dpkg|systemd|ucf|pam|alsa|dbus)/"
    r"|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|/etc/(ld\.so\.cache|machine-id|\.updated|resolv\.conf|pip\.conf|"
    r"asound\.conf|hostname|hosts|mailcap|apt/.*|alternatives/.*|sudoers\.d/010_pi-nopasswd|ssl/certs/.*)$"
    r"|/__pycache__/|/usr/local/lib/libclockcard\.so|/var/\.updated|/usr/(lib|share)/.*cache$|/usr/lib/mime/.*|/usr/share/info/dir"
)


def installs(suite: str) -> Callable[[Stage, bool], str]:
    """Give what installs a suite's box from nothing, then starts it cold, then installs once more."""

    def body(stage: Stage, planted: bool) -> str:
        try:
            said = stage.install(suite, _forget_to_enable if planted else None)
            assert "The dance sampler is installed." in said, said[-300:]
            with stage.box(suite) as box:
                runtime = box.plays()["model"]["runtime"]
                assert runtime == SUITES[suite], f"it plays with {runtime}"
                box.container.eventually(lambda: any(level > HEARD for _, level in box.levels()), "it is heard")
                pid = box.pid()
                assert "installed" in box.install()
                assert box.pid() == pid, "installing the same again interrupted it"
                assert "performing" in box.as_pi("sudo dance-sampler status")
                size_mb = box.run("du", "-s", "--block-size=1000000", f"/opt/{NAME}").split()[0]
        finally:
            if planted:
                stage.forget(suite)
        return f"{runtime}, {size_mb} MB; heard after a cold start; installed again, it was not interrupted"

    return body


def upgrade(stage: Stage, planted: bool) -> str:
    """The release before is installed and used; then this one, over it."""
    old = previous_release()
    with stage.online(*stage.installed("bookworm")) as box:
        box.install("--uninstall", "--purge")
        box.copy_checkout(old, "old")
        stage.run_installer(box, "bookworm", "old")
        _use(box, stage.work.folder / "spring")
        before, release = _kept(box), _current(box)
        if planted:
            _change(box.container.root / "home/pi" / NAME, '    activate "$release"', f"\n    rm -f {CONFIG}")
        stage.run_installer(box, "bookworm")
        assert _current(box) != release, "the release is the same"
        after = _kept(box)
        lost = [name for name, content in before.items() if after.get(name) != content]
        assert not lost, f"not kept: {lost}"
        assert box.plays()["model"]["name"] == "spring", "the model that was installed does not play"
        assert box.run("readlink", f"/opt/{NAME}/previous").strip() == release, "the release before is not kept"
        return f"from {old[:7]}: a take, a model that plays, the configuration: {len(before)} files, all the same"


def broken_upgrade(stage: Stage, planted: bool) -> str:
    """A version whose program does not start is installed: the old one runs again."""
    with stage.box() as box:
        box.plays()
        release = _current(box)
        checkout = box.copy_checkout()
        program = checkout / "device/commands/run.py"
        program.write_text(program.read_text().replace("def main(", "raise SystemExit(1)\n\n\ndef main(", 1))
        if planted:
            _change(checkout, '[ -z "$fallback" ] || go_back', "", becomes="true")
        returncode, said = box.ask("sh", "-c", f"cd && sudo {NAME}/{INSTALLER} --no-tone", user="pi", timeout_s=300.0)
        assert returncode == 1, "it says that all went well"
        assert _current(box) == release, f"what does not start is what will be started: {said[-200:]}"
        assert "is in its place again" in said, said[-200:]
        box.plays()
        return "it says so, and the old program plays again"


def uninstall(stage: Stage, planted: bool) -> str:
    """Away with it: takes and configuration stay unless they are to go, too; then nothing is left."""
    with stage.box() as box:
        _use(box, stage.work.folder / "summer")
        if planted:
            checkout = box.container.root / "home/pi" / NAME
            _change(checkout, '"etc/udev/rules.d/70-$NAME.rules" "etc/tmp', "", becomes='"etc/tmp')
        before = _kept(box)
        box.install("--uninstall")
        lost = dict(before.items() - _kept(box).items())
        assert not lost, f"not kept: {sorted(lost)}"
        box.install("--uninstall", "--purge")
        left = _left(box, debian_root(stage.work, "bookworm"))
        assert not left, f"left behind: {left[:20]}"
        for kind in ("passwd", "group"):
            assert box.ask("getent", kind, NAME)[0] != 0, f"its {kind} is left"
        units = [
            line for line in box.run("systemctl", "list-units", "--all", "--plain").splitlines() if "dance" in line
        ]
        assert not units, f"systemd still knows {units}"
        return "takes, models and configuration stay; purged, no file, user, group, unit or process is left"


def _use(box: Box, bundle: Path) -> None:
    """Do with a box what one would miss: configure it, record, install a model."""
    furnish(box)
    config = box.container.root / CONFIG.lstrip("/")
    config.write_text(config.read_text() + UNSIGNED)
    box.restart()
    box.plays()
    box.record(1.0)
    manifest, files = read_files(FACTORY)
    write_bundle(bundle, replace(manifest, name=bundle.name, version=manifest.version + 1), files)
    box.work.run("cp", "-a", bundle, box.container.root / "srv/bundle")
    _install_model(box)


def _install_model(box: Box) -> None:
    """Install a model until it has stood its trial: a machine that is busy may spoil one."""
    for _ in range(N_TRIALS):
        box.run(NAME, "models", "install", "--allow-downgrade", "/srv/bundle")
        box.restart()
        box.plays()
        box.container.eventually(lambda: _phase(box) in (COMMITTED, ROLLED_BACK), "the model's trial has ended")
        if _phase(box) == COMMITTED:
            return
    raise AssertionError(f"the model stood no trial: {box.status()['trial']}")


def _phase(box: Box) -> str:
    return str((box.status().get("trial") or {}).get("phase"))


def _kept(box: Box) -> dict[str, str]:
    """Give all that must outlive an upgrade: takes, models, configuration, by name and content.

    Not the list of the models, which is written anew, nor locks.
    """
    which = f"{CONFIG} {STATE}/takes {STATE}/models ! -name '*.lock' ! -name installed.json -type f"
    lines = box.run("sh", "-c", f"find {which} -exec sha256sum {{}} + 2>/dev/null || true").splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def _current(box: Box) -> str:
    return box.run("readlink", f"/opt/{NAME}/current").strip()


def _left(box: Box, base: Path) -> list[str]:
    """Give the files that are there beside Debian's."""
    there = set(
        box.run("find", "/", "-xdev", "-not", "-type", "d", "-not", "-lname", "/etc/alternatives/*").splitlines()
    )
    debians = box.run("sh", "-c", "cat /var/lib/dpkg/info/*.list").splitlines()
    known = {re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", name) for name in debians}
    known |= {f"/{path.relative_to(base)}" for path in base.rglob("*")}
    return sorted(name for name in there - known if not NOT_OURS.search(name))


def _forget_to_enable(checkout: Path) -> None:
    _change(checkout, '--quiet enable "$NAME.service"', "", becomes='--quiet is-enabled "$NAME.service" || true #')


def _change(checkout: Path, was: str, more: str, becomes: str = "") -> None:
    """Plant a fault in an installer."""
    path = checkout / INSTALLER
    text = path.read_text()
    if was not in text:
        raise TwinError(f"the installer has no {was!r} any more: plant another fault")
    path.write_text(text.replace(was, (becomes or was) + more, 1))


def _install(suite: str) -> Try:
    return Try(
        Check(
            f"install-{suite}",
            f"one command installs it on Debian {suite.title()}; plugged in again it performs by itself",
            "install.sh in a minimal system, a cold start, install.sh again", LAYER,
            "the installer does not enable the service",
        ),
        installs(suite),
    )  # fmt: skip


FIRST = tuple(_install(suite) for suite in SUITES)
AFTERWARDS = (
    Try(
        Check(
            "upgrade", "an upgrade keeps takes, models and configuration",
            "the release before, a take, a model, a configuration; then this one over it", LAYER,
            "the installer removes the configuration",
        ),
        upgrade,
    ),
    Try(
        Check(
            "broken-upgrade", "a new version that does not start is not kept: the old one runs again",
            "a version whose program ends at once", LAYER, "the installer does not go back",
        ),
        broken_upgrade,
    ),
    Try(
        Check(
            "uninstall", "uninstalled, takes and configuration stay; purged, nothing is left",
            "every file of the system beside Debian's, users, groups, units", LAYER,
            "the installer forgets its udev rules",
        ),
        uninstall,
    ),
)  # fmt: skip
TRIES = (*FIRST, *AFTERWARDS)
