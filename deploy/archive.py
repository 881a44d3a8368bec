"""A bundle's folder as the one stream that goes to a box."""

from __future__ import annotations

from pathlib import Path

from device.core.wire import LIMITS, pack_bundle
from device.models.bundle_folder import list_bundle, read_plain_file


def pack(bundle: Path) -> bytes:
    """Give the stream of a bundle; equal bundles give equal streams.

    Raises
    ------
    BundleError
        The folder is not a bundle's, or a file of it is too large.
    """
    return pack_bundle({name: read_plain_file(bundle, name, LIMITS[name]) for name in sorted(list_bundle(bundle))})
