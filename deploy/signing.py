"""A bundle is signed on the workstation, before it is sent: the box takes only what its owner signed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from device.core.bundle import MANIFEST, SIGNATURE
from device.core.errors import BundleError
from device.models.bundles import read_bundle, sign
from device.models.signature import check_signature

SIGN_KEY = Path(".ssh") / "dance-sampler-signing"
"""The key that `deploy keygen` makes, below the user's home."""


def make_signed(bundle: Path, key: Path | None, *, home: Path | None = None) -> None:
    """Make sure that a bundle is whole, and signed where there is a key to sign it with.

    It is signed where it lies. One that bears this key's signature already is left as it is: signed again it might
    be other bytes, and what a box has of them already would be lost.

    Parameters
    ----------
    bundle : Path
        Its folder.
    key : Path or None
        Whose signature it must bear. None: any will do, and an unsigned one is signed with the key of `deploy keygen`
        if there is one; if not, the box says whether it takes it.
    home : Path, optional
        The user's home.

    Raises
    ------
    BundleError
        It is not whole, or cannot be signed.
    """
    read_bundle(bundle)
    if key is not None:
        if not is_signed_by(bundle, key):
            sign(bundle, key)
        return
    own = (home or Path.home()) / SIGN_KEY
    if not (bundle / SIGNATURE).exists() and own.exists():
        sign(bundle, own)


def is_signed_by(bundle: Path, key: Path) -> bool:
    """Tell whether a bundle bears the signature of a key whose public half lies beside it."""
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    if not public.is_file() or not (bundle / SIGNATURE).is_file():
        return False
    with tempfile.TemporaryDirectory() as folder:
        signers = Path(folder) / "allowed_signers"
        signers.write_text(f"owner {public.read_text()}")
        try:
            check_signature((bundle / MANIFEST).read_bytes(), bundle / SIGNATURE, signers)
        except BundleError:
            return False
    return True
