"""New models over SSH into the running box: the real sshd with its PAM and StrictModes, sudo, the forced command."""

from __future__ import annotations

import re
import sys

from tests.twin.container.box import NAME, STATE, Box
from tests.twin.container.stage import LAYER, Stage, Try
from tests.twin.container.workstation import HOST, Workstation
from tests.twin.results import Check, Found

TAKE_S = 1.5


def deployment(stage: Stage, planted: bool) -> Found:
    """What the README tells an owner to type, in its order."""
    with stage.box() as box:
        before = box.plays()
        box.record(TAKE_S)
        owner = Workstation(stage.work.folder / "workstation", box)
        owner.deploy("keygen", f"pi@{HOST}")
        assert "performing" in owner.deploy("status", HOST)
        if planted:
            box.run("sh", "-c", f": >/etc/{NAME}/allowed_signers")
        n_pushes = owner.push(owner.bundle("spring"))
        after = box.until("the new model plays", patience_s=30.0, state="performing")
        assert after["model"]["name"] == "spring", after["model"]
        assert after["pids"]["sound"] == before["pids"]["sound"], "the sound did not go on"
        owner.deploy("pull", HOST, "--takes", stage.work.folder / "workstation/takes")
        pulled = sorted((stage.work.folder / "workstation/takes").rglob("take.json"))
        assert len(pulled) == 1, f"{len(pulled)} takes came home"
        owner.deploy("rollback", HOST)
        box.container.eventually(lambda: box.status()["model"]["name"] != "spring", "the model before plays again")
        assert owner.deploy("log", HOST, "-n", "20").strip(), "no log was given"
        said = "keygen (sudo), status, push, pull, rollback and log as the README has them; the sound went on"
        return Found(said + (f"; kept at push {n_pushes}, the machine was busy" if n_pushes > 1 else ""), 6)


def forced_command(stage: Stage, planted: bool) -> Found:
    """What somebody may do who has stolen the deploy key: deploy, and nothing else."""
    with stage.box() as box:
        box.plays()
        owner = Workstation(stage.work.folder / "workstation-2", box)
        owner.deploy("keygen", f"pi@{HOST}")
        if planted:
            home = box.run("getent", "passwd", NAME).split(":")[5]
            box.run("sed", "-i", 's/^restrict,command="[^"]*" //', f"{home}/.ssh/authorized_keys")
        key = ["ssh", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", str(owner.folder / ".ssh/dance-sampler"),
               "-o", "IdentityFile=none", "-l", NAME]  # fmt: skip
        attempts = {
            "a command": [*key, HOST, "id"],
            "a shell": [*key, HOST],
            "a terminal": [*key, "-tt", HOST, "id"],
            "a file's transfer": [*key, "-s", HOST, "sftp"],
            "another program's argument": [*key, HOST, "status; id"],
            "a forwarded port": [*key, "-W", "127.0.0.1:22", HOST],
        }
        for what, command in attempts.items():
            done = owner.run(command, given="id\n")
            assert "uid=" not in done.stdout, f"{what}: it was run: {done.stdout.strip()}"
            assert "SSH-2.0" not in done.stdout, f"{what}: it was opened"
            assert done.returncode != 0, f"{what}: it was not refused"
        # A bundle that nobody known has signed is refused by the box itself.
        unsigned = owner.bundle("unsigned")
        (owner.folder / ".ssh/dance-sampler-signing").unlink()
        refused = owner.run([sys.executable, "-m", "deploy", "push", HOST, str(unsigned)])
        assert refused.returncode == 1, "an unsigned bundle was taken"
        assert re.search("sign", refused.stderr), refused.stderr
        return Found(f"{', '.join(attempts)}: refused; so was a bundle that nobody signed", len(attempts) + 1)


def read_only(stage: Stage, planted: bool) -> str:
    """The root is mounted read-only, the state on a partition of its own; then that is missing, too."""
    state = stage.work.folder / "state"
    with stage.box() as box:
        box.plays()
        owner = Workstation(stage.work.folder / "workstation-3", box)
        owner.deploy("keygen", f"pi@{HOST}")
        box.container.power_off()
        stage.work.run("cp", "-a", box.container.root / STATE.lstrip("/"), state)
        kind = "--bind-ro" if planted else "--bind"
        box.switch_on("--read-only", "--tmpfs=/var/tmp", f"{kind}={state}:{STATE}")
        box.plays()
        box.record(TAKE_S)
        owner.connect()
        owner.push(owner.bundle("spring"))
        written = box.run("sh", "-c", "touch /opt/x /etc/x 2>/dev/null; ls /opt/x /etc/x 2>/dev/null || true")
        assert not written, f"the root was not read-only: {written}"
        box.container.pull_the_plug()
        box.switch_on("--read-only", "--tmpfs=/var/tmp")
        said = box.plays()
        assert said["model"]["path"].endswith("/factory/bundle"), said["model"]
        _refuses_to_record(box)
        return "a take and a push with the state writable; without it, it performs and refuses to record, saying so"


def _refuses_to_record(box: Box) -> None:
    box.container.eventually(lambda: box.status().get("uptime_s", 0.0) > 3.0, "the start is over")
    box.tap()
    said = box.until("a press is refused", light="refused", patience_s=15.0)
    assert any("read-only" in note for note in said["notes"]), said["notes"]


TRIES = (
    Try(
        Check(
            "deployment", "new models over SSH, takes home, and back to the model before, while the box plays on",
            "the README's commands against the box's own sshd (PAM, StrictModes, sudo)", LAYER,
            "the box has forgotten who may sign",
        ),
        deployment,
    ),
    Try(
        Check(
            "forced-command", "the deploy key may deploy and nothing else; what no known key has signed is not kept",
            "shell, command, terminal, sftp, port and an unsigned bundle, with that key", LAYER,
            "the key's line in authorized_keys names no command",
        ),
        forced_command,
    ),
    Try(
        Check(
            "read-only", "on a read-only root it performs, records and is deployed to; without its state it performs",
            "root mounted read-only, state beside it; then without it", LAYER, "the state is read-only, too",
        ),
        read_only,
    ),
)  # fmt: skip
