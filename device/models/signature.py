"""Signatures of bundles: OpenSSH's, made and checked by ssh-keygen, so that owners use the keys they have.

A signature covers the bytes of the manifest, which holds the sha256 of every other file.
"""

from __future__ import annotations

import base64
import subprocess
import textwrap
from pathlib import Path

from device.core.bundle_files import SIGNATURE
from device.core.errors import BundleError

NAMESPACE = "dance-sampler-bundle"
_ARMOR, _ARMOR_WIDTH = "SSH SIGNATURE", 70
CHECK_TIMEOUT_S = 10.0
SIGN_TIMEOUT_S = 60.0
"""Longer: the owner may have to type a passphrase or touch a key."""


def sign_file(path: Path, key: Path) -> None:
    """Sign a file; the signature is left beside it, with `.sig` at the end of its name.

    Parameters
    ----------
    path : Path
        The file, a manifest.
    key : Path
        An OpenSSH private key, or a public one whose private half is in the agent.

    Raises
    ------
    BundleError
        The key cannot be used, or ssh-keygen is missing.
    """
    if not key.is_file():
        raise BundleError(f"there is no key at {key}: make one with: ssh-keygen -t ed25519 -f {key}")
    done = _ssh_keygen(["sign", "-f", str(key), "-n", NAMESPACE, str(path)], b"", SIGN_TIMEOUT_S)
    if done.returncode != 0:
        raise BundleError(f"the bundle could not be signed with {key} ({_reason(done)}): use an OpenSSH private key")


def check_signature(data: bytes, signature: Path, allowed_signers: Path | None) -> str | None:
    """Check that a signature belongs to these bytes.

    Parameters
    ----------
    data : bytes
        The manifest.
    signature : Path
        The signature's file.
    allowed_signers : Path or None
        Who may sign, in the format of ssh-keygen(1), ALLOWED SIGNERS. None: anyone may, but the signature must be
        whole and belong to the bytes.

    Returns
    -------
    str or None
        The signer's name in `allowed_signers`.

    Raises
    ------
    BundleError
        The signature is damaged, belongs to other bytes or another signer, or ssh-keygen is missing.
    """
    _check_armor(signature.read_bytes())
    common = ["-n", NAMESPACE, "-s", str(signature)]
    if allowed_signers is None:
        done = _ssh_keygen(["check-novalidate", *common], data, CHECK_TIMEOUT_S)
        if done.returncode != 0:
            raise BundleError(f"{SIGNATURE} does not belong to manifest.json: send the bundle again")
        return None
    signer = _find_signer(data, signature, allowed_signers)
    done = _ssh_keygen(["verify", *common, "-f", str(allowed_signers), "-I", signer], data, CHECK_TIMEOUT_S)
    if done.returncode != 0:
        raise BundleError(f"{SIGNATURE} does not belong to manifest.json and {signer}: send the bundle again")
    return signer


def _check_armor(data: bytes) -> None:
    """Refuse what ssh-keygen overlooks: a signature's file must be written exactly as it writes it."""
    lines = data.decode("ascii", errors="replace").splitlines()
    try:
        body = base64.b64encode(base64.b64decode("".join(lines[1:-1]), validate=True)).decode("ascii")
    except ValueError:
        body = ""
    armor = [f"-----BEGIN {_ARMOR}-----", *textwrap.wrap(body, _ARMOR_WIDTH), f"-----END {_ARMOR}-----", ""]
    if "\n".join(armor).encode("ascii") != data:
        raise BundleError(f"{SIGNATURE} is damaged: send the bundle again")


def _find_signer(data: bytes, signature: Path, allowed_signers: Path) -> str:
    """Name of the allowed signer whose key made the signature."""
    if not allowed_signers.is_file():
        raise BundleError(f"there is no list of allowed signers at {allowed_signers}: name one, or leave it out")
    arguments = ["find-principals", "-s", str(signature), "-f", str(allowed_signers)]
    done = _ssh_keygen(arguments, data, CHECK_TIMEOUT_S)
    names = done.stdout.decode(errors="replace").splitlines()
    if done.returncode != 0 or not names:
        raise BundleError(f"the bundle's signer is not in {allowed_signers}: add the signer's key there, or sign again")
    return names[0].split(",")[0]


def _ssh_keygen(arguments: list[str], data: bytes, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", *arguments], input=data, capture_output=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise BundleError("ssh-keygen is missing: install it with: apt install openssh-client") from error
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"ssh-keygen did not answer in {timeout_s:g} s: try again") from error


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Give the last line that ssh-keygen said."""
    lines = done.stderr.decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:200] if said else f"exit status {done.returncode}"
