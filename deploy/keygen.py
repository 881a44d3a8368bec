"""`deploy keygen`: a key that may only deploy and a key that signs bundles, and a box that knows both."""

from __future__ import annotations

import argparse
import getpass
import re
import shlex
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import BoxError
from deploy.signing import SIGN_KEY
from deploy.ssh import BOX_USER, CONNECT_S, DEPLOY_KEY, SSH_FAILED, check_box, explain, last_line, may_ask
from device.core.errors import UsageError
from device.models.signature import NAMESPACE

SHELL_COMMAND = "/usr/local/bin/dance-sampler deploy-shell"
"""All that the deploy key can do on a box."""
ALLOWED_SIGNERS = "/etc/dance-sampler/allowed_signers"
INSTALL_S = 60.0

# $1 the box's user, $2 and $3 the two lines, $4 the list of signers; with $5 it says which files it changed. Run as
# root; run again it changes nothing more.
_SCRIPT = r"""
set -eu
umask 022
tells=${5-}
home=$(getent passwd "$1" | cut -d: -f6)
[ -n "$home" ] || { echo "there is no user $1: run deploy/install.sh there first" >&2; exit 1; }
# sshd runs a key's command through the shell of its user.
case $(getent passwd "$1" | cut -d: -f7) in */nologin | */false) usermod --shell /bin/sh "$1" ;; esac

# put FILE LINE: the line is in the file once, and takes the place of others with the same key.
put() {
    key=$(printf '%s\n' "$2" | grep -o 'AAAA[A-Za-z0-9+/=]*')
    [ "$(grep -cF -- "$key" "$1" 2>/dev/null)" = 1 ] && grep -qxF -- "$2" "$1" && return 0
    { grep -vF -- "$key" "$1" 2>/dev/null || true; printf '%s\n' "$2"; } >"$1.new"
    chmod 644 "$1.new"
    sync "$1.new"
    mv "$1.new" "$1"
    [ -z "$tells" ] || echo "changed $1"
}

mkdir -p "$home/.ssh" "$(dirname "$4")"
chmod 755 "$home/.ssh"
put "$home/.ssh/authorized_keys" "$2"
put "$4" "$3"
sync
"""


@dataclass(frozen=True)
class Lines:
    """What a box must hold: a line of the user's authorized_keys, and one of the list of signers."""

    authorized_key: str
    allowed_signer: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy keygen`."""
    parser.add_argument("box", metavar="BOX", help="as you log in there with ssh, as root or with sudo: pi@box.local")
    parser.add_argument(
        "--print", action="store_true", help="make the keys, print what a box must know, install nothing"
    )


def main(args: argparse.Namespace) -> int:
    """Make the keys that are missing, and let the box know them."""
    box = check_box(args.box)
    lines = Lines(
        authorized_key_line(make_key(Path.home() / DEPLOY_KEY, "may deploy")),
        allowed_signer_line(make_key(Path.home() / SIGN_KEY, "signs bundles")),
    )
    if args.print:
        print(f"~{BOX_USER}/.ssh/authorized_keys:\n{lines.authorized_key}\n{ALLOWED_SIGNERS}:\n{lines.allowed_signer}")
        return 0
    install(box, lines)
    host = box.rpartition("@")[2]
    print(f"{host} takes bundles that you sign. Try: python -m deploy status {host}")
    return 0


def make_key(path: Path, what_for: str) -> str:
    """Make a key if there is none, and give the line of its public half.

    Parameters
    ----------
    path : Path
        Of the private half; the public one lies beside it.
    what_for : str
        Told to the user, who may give it a passphrase if there is a terminal to ask on.

    Raises
    ------
    UsageError
        It cannot be made or read.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        passphrase = [] if may_ask() else ["-N", ""]
        print(f"making {path}, which {what_for}", file=sys.stderr)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-C", _owner(), "-f", str(path), *passphrase]
        if subprocess.run(command, check=False).returncode != 0:
            raise UsageError(f"{path} could not be made: look above")
    public = path.with_name(f"{path.name}.pub")
    if not public.is_file():
        raise UsageError(f"{public} is missing: make it with: ssh-keygen -y -f {path} > {public}")
    line = public.read_text(encoding="utf-8").strip()
    if not re.fullmatch(r"[a-z0-9@.-]+ AAAA[A-Za-z0-9+/=]+( [^\n]*)?", line):
        raise UsageError(f"{public} is no public key: move {path} and it away, and run this again")
    return line


def authorized_key_line(public: str) -> str:
    """Write the line that lets a key do nothing on a box but deploy."""
    kind, key = public.split()[:2]
    return f'restrict,command="{SHELL_COMMAND}" {kind} {key} {_owner()}'


def allowed_signer_line(public: str) -> str:
    """Write the line that lets a key sign bundles, and nothing else."""
    kind, key = public.split()[:2]
    return f'{_owner()} namespaces="{NAMESPACE}" {kind} {key}'


def root_command(lines: Lines, user: str = BOX_USER, signers: str = ALLOWED_SIGNERS, *, tells: bool) -> list[str]:
    """Give the arguments of what lets a box know the keys, run there as root.

    Parameters
    ----------
    lines : Lines
    user, signers : str
        See `install`.
    tells : bool
        Whether it writes a line for each file that it changed.
    """
    return ["sh", "-c", _SCRIPT, "sh", user, lines.authorized_key, lines.allowed_signer, signers, "yes" * tells]


def install(box: str, lines: Lines, user: str = BOX_USER, signers: str = ALLOWED_SIGNERS) -> None:
    """Let a box know the keys, through an ordinary login of one who is root there or may become so.

    Parameters
    ----------
    box : str
        As the user logs in.
    lines : Lines
    user : str
        Who answers on the box.
    signers : str
        The box's list of who may sign.

    Raises
    ------
    BoxError
        The box cannot be reached, or the lines could not be written there.
    """
    asks = may_ask()
    script = shlex.join(root_command(lines, user, signers, tells=False))
    as_root = f'if [ "$(id -u)" = 0 ]; then {script}; else sudo {"" if asks else "-n "}{script}; fi'
    command = ["ssh", "-t" if asks else "-T", "-o", f"BatchMode={'no' if asks else 'yes'}"]
    command += [
        "-o",
        f"ConnectTimeout={CONNECT_S}",
        "-o",
        "RemoteCommand=none",
        "--",
        box,
        shlex.join(["sh", "-c", as_root]),
    ]
    try:
        # On a terminal ssh and sudo speak to the user themselves: they may have to ask.
        done = subprocess.run(
            command,
            stdin=None if asks else subprocess.DEVNULL,
            stderr=None if asks else subprocess.PIPE,
            timeout=None if asks else INSTALL_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise BoxError("ssh is missing: install it with: apt install openssh-client") from error
    except subprocess.TimeoutExpired as error:
        raise BoxError(f"{box}: no answer in {INSTALL_S:g} s: try again") from error
    said = (done.stderr or b"").decode(errors="replace")
    if done.returncode == SSH_FAILED:
        raise explain(box, said, own_login=True)
    if done.returncode != 0:
        why = last_line(said) or "look above"
        raise BoxError(f"{box}: the keys could not be installed ({why}): log in as root, or as one who may use sudo")


def _owner() -> str:
    """Name whose keys these are, as a signer's name may be written."""
    return re.sub(r"[^A-Za-z0-9._@-]", "-", f"{getpass.getuser()}@{socket.gethostname()}")
