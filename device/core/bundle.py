"""The bundle's manifest: what a model is, parsed from bytes and built to bytes.

A bundle is a folder with `manifest.json`, the two model files and, when signed, `manifest.json.sig`. The manifest
holds the sha256 of each model file and of itself, so a change of any byte is seen even in an unsigned bundle;
a signature of the manifest covers the whole. It may come from anyone: nothing in it is taken without a check.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from device.core.bundle_files import MANIFEST, MAX_MANIFEST_BYTES, MAX_MODEL_BYTES, MODEL_FILES, SIGNATURE
from device.core.errors import BundleError
from device.core.golden import Golden, golden_from_json, golden_to_json
from device.core.motiongram import MotionSettings
from device.core.strict_json import AGAIN, boolean, canonical_json, integer, keyed, load_object, number
from device.core.synth import SynthSettings

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "MAX_MODEL_BYTES",
    "MODEL_FILES",
    "SIGNATURE",
    "FileEntry",
    "Manifest",
    "build_manifest",
    "check_name",
    "describe_files",
    "parse_manifest",
]

FORMAT_VERSION = 1

_KEYS = {
    "format_version", "name", "version", "rate_hz", "grid_rate_hz", "motion", "synth", "segment_s", "lead_s",
    "n_latent", "n_columns", "temperature", "figures", "files", "golden", "signed", "sha256",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_FIGURES_DEPTH = 4

Settings = TypeVar("Settings", MotionSettings, SynthSettings)


@dataclass(frozen=True)
class FileEntry:
    """Lower-case hexadecimal sha256 and size in bytes of one model file."""

    sha256: str
    size: int


@dataclass(frozen=True, eq=False)
class Manifest:
    """All that a bundle says of its model.

    Attributes
    ----------
    name : str
        Letters, digits, space, dot, underscore and hyphen; at most 64.
    version : int
        The trainer's number: higher than that of the run it started from.
    rate_hz : int
        Samples per second; equal to that of `synth`.
    grid_rate_hz : float
        Columns per second in a window.
    motion : MotionSettings
        How columns are made.
    synth : SynthSettings
        What spectra mean.
    segment_s : float
        Length of a window, 0.05 to 2 s.
    lead_s : float
        How far the learned sound lies ahead of the motion, -1 to 1 s.
    n_latent, n_columns : int
        Sizes of the noise and of the window.
    temperature : float
        Scale of the noise unless the user says otherwise.
    figures : Mapping[str, object]
        Figures on held-out takes: numbers, short strings, or mappings of these.
    files : Mapping[str, FileEntry]
        Name -> hash and size, of exactly the files in `MODEL_FILES`.
    golden : Golden
        Examples that the model must repeat.
    signed : bool
        Whether `manifest.json.sig` belongs to the bundle.
    """

    name: str
    version: int
    rate_hz: int
    grid_rate_hz: float
    motion: MotionSettings
    synth: SynthSettings
    segment_s: float
    lead_s: float
    n_latent: int
    n_columns: int
    temperature: float
    figures: Mapping[str, object]
    files: Mapping[str, FileEntry]
    golden: Golden
    signed: bool

    @property
    def n_features(self) -> int:
        """Values in a column: height + width."""
        return self.motion.height + self.motion.width

    @property
    def n_bins(self) -> int:
        """Values in a spectrum."""
        return self.synth.n_bins


def describe_files(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Hash and size of each file."""
    return {name: FileEntry(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}


def build_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON of a manifest: sorted keys, one space of indent, its own sha256 among them.

    Raises
    ------
    BundleError
        `parse_manifest` would not take it.
    """
    document = {
        "format_version": FORMAT_VERSION,
        **{field.name: getattr(manifest, field.name) for field in fields(manifest)},
        "motion": asdict(manifest.motion),
        "synth": asdict(manifest.synth),
        "files": {name: asdict(entry) for name, entry in manifest.files.items()},
        "golden": golden_to_json(manifest.golden),
    }
    try:
        document["sha256"] = hashlib.sha256(canonical_json(document)).hexdigest()
        data = canonical_json(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"the manifest holds what JSON cannot ({error}): use finite numbers and strings") from error
    parse_manifest(data)
    return data


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest from its bytes.

    Raises
    ------
    BundleError
        The bytes are not a manifest, were changed, come from a newer program, or do not fit together.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"manifest.json is larger than {MAX_MANIFEST_BYTES >> 20} MiB, so it is not ours: {AGAIN}")
    document = load_object(data, "manifest.json")
    format_version = document.get("format_version")
    if type(format_version) is not int or format_version < 1:
        raise BundleError(f"manifest.json has no usable format version: {AGAIN}")
    if format_version > FORMAT_VERSION:
        raise BundleError(
            f"the bundle's format {format_version} is newer than this program's {FORMAT_VERSION}: update the box"
        )
    _check_unchanged(document, data)
    keyed("manifest", document, _KEYS)
    motion = _settings("motion", MotionSettings, document["motion"])
    synth = _settings("synth", SynthSettings, document["synth"])
    n_latent = integer("n_latent", document["n_latent"], 1, 4096)
    n_columns = integer("n_columns", document["n_columns"], 1, 2001)
    manifest = Manifest(
        name=check_name(document["name"]),
        version=integer("version", document["version"], 1, 2**63 - 1),
        rate_hz=integer("rate_hz", document["rate_hz"], 8000, 192000),
        grid_rate_hz=number("grid_rate_hz", document["grid_rate_hz"], 1.0, 1000.0),
        motion=motion,
        synth=synth,
        segment_s=number("segment_s", document["segment_s"], 0.05, 2.0),
        lead_s=number("lead_s", document["lead_s"], -1.0, 1.0),
        n_latent=n_latent,
        n_columns=n_columns,
        temperature=number("temperature", document["temperature"], 0.0, 10.0),
        figures=_figures(document["figures"]),
        files=_files(document["files"]),
        golden=golden_from_json(document["golden"], (n_columns, motion.height + motion.width), n_latent, synth.n_bins),
        signed=boolean("signed", document["signed"]),
    )
    _check_fit(manifest)
    return manifest


def _check_unchanged(document: Mapping[str, Any], data: bytes) -> None:
    """Make sure that the bytes are canonical and carry their own sha256: not a digit was altered."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    try:
        unchanged = canonical_json(document) == data
        unchanged = unchanged and document.get("sha256") == hashlib.sha256(canonical_json(rest)).hexdigest()
    except (ValueError, RecursionError):  # 1e999 reads as an infinity
        unchanged = False
    if not unchanged:
        raise BundleError(f"manifest.json was changed after it was written: {AGAIN}")


def _check_fit(manifest: Manifest) -> None:
    """Make sure that what the manifest says twice, it says alike."""
    if manifest.rate_hz != manifest.synth.rate_hz:
        raise BundleError(
            f"the bundle's sample rate is {manifest.rate_hz} Hz but its synth's {manifest.synth.rate_hz} Hz: {AGAIN}"
        )
    if abs(manifest.n_columns - manifest.segment_s * manifest.grid_rate_hz) > 1.0:
        raise BundleError(
            f"{manifest.n_columns} columns at {manifest.grid_rate_hz:g} a second are not a window of "
            f"{manifest.segment_s:g} s: {AGAIN}"
        )
    variants = {tuple(key.split("/")) for key in manifest.golden.outputs}
    if {parts[0] for parts in variants} != set(MODEL_FILES) or any(len(parts) != 2 for parts in variants):
        raise BundleError(f"the golden examples are not those of the bundle's model files: {AGAIN}")


def check_name(value: object) -> str:
    """Give the name back if a bundle may have it, otherwise raise BundleError."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BundleError("the bundle's name must be 1 to 64 letters, digits, spaces, dots, underscores or hyphens")
    return value


def _settings(where: str, kind: type[Settings], value: object) -> Settings:
    """Read settings: exactly the fields of their dataclass, each of the type of its default."""
    values = keyed(where, value, {field.name for field in fields(kind)})
    for field in fields(kind):
        given = values[field.name]
        if isinstance(field.default, str) and not isinstance(given, str):
            raise BundleError(f"'{where}.{field.name}' in manifest.json is not a string: {AGAIN}")
        if isinstance(field.default, int):
            integer(f"{where}.{field.name}", given, 1, 1 << 20)
        elif isinstance(field.default, float):
            values[field.name] = number(f"{where}.{field.name}", given, 0.0, 1e6)
    try:
        return kind(**values)
    except ValueError as error:
        raise BundleError(f"'{where}' in manifest.json cannot be used ({error}): {AGAIN}") from error


def _figures(value: object, depth: int = 1) -> dict[str, object]:
    if not isinstance(value, dict) or depth > _MAX_FIGURES_DEPTH:
        raise BundleError(f"'figures' in manifest.json is not an object of numbers and names: {AGAIN}")
    figures: dict[str, object] = {}
    for key, given in value.items():
        figure = _figures(given, depth + 1) if isinstance(given, dict) else given
        is_number = isinstance(figure, int | float) and math.isfinite(figure)
        is_name = isinstance(figure, str) and len(figure) <= 200 and figure.isprintable()
        if not key.isprintable() or not (is_number or is_name or isinstance(figure, dict)):
            raise BundleError(f"figure {key[:40]!r} in manifest.json is neither a number nor a name: {AGAIN}")
        figures[key] = figure
    return figures


def _files(value: object) -> dict[str, FileEntry]:
    files = keyed("files", value, set(MODEL_FILES.values()))
    entries = {}
    for name, entry in files.items():
        keyed(name, entry, {"sha256", "size"})
        if not isinstance(entry["sha256"], str) or not _SHA256.fullmatch(entry["sha256"]):
            raise BundleError(f"the sha256 of {name} in manifest.json is not one: {AGAIN}")
        entries[name] = FileEntry(entry["sha256"], integer(f"{name}.size", entry["size"], 1, MAX_MODEL_BYTES))
    return entries
