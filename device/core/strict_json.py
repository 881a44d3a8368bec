"""JSON that may come from anyone: read strictly, each value checked for its type and range before it is used."""

from __future__ import annotations

import json
from typing import Any

from device.core.errors import BundleError

AGAIN = "export or send the bundle again"
"""What to do about nearly every fault of a manifest."""


def canonical_json(document: Any) -> bytes:
    """ASCII, sorted keys, one space of indent, no NaN: equal documents give equal bytes.

    Raises
    ------
    ValueError, TypeError, RecursionError
        The document holds what JSON cannot.
    """
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def load_object(data: bytes, where: str) -> dict[str, Any]:
    """One JSON object; duplicate keys, NaN, Infinity and deep nesting raise BundleError."""
    try:
        document = json.loads(data.decode("ascii"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise BundleError(f"{where} is not JSON that can be read ({reason}): {AGAIN}") from error
    if not isinstance(document, dict):
        raise BundleError(f"{where} is not a JSON object: {AGAIN}")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key comes twice")
    return document


def _no_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def keyed(where: str, value: object, keys: set[str]) -> dict[str, Any]:
    """Take the value for an object with exactly these keys, or raise BundleError."""
    if not isinstance(value, dict):
        raise BundleError(f"'{where}' in manifest.json is not an object: {AGAIN}")
    if missing := sorted(keys - value.keys()):
        raise BundleError(f"'{missing[0]}' is missing from '{where}' in manifest.json: {AGAIN}")
    if unknown := sorted(value.keys() - keys):
        raise BundleError(f"'{where}' in manifest.json holds the unknown {unknown[0][:60]!r}: {AGAIN}")
    return value


def listed(where: str, value: object) -> list[Any]:
    """Take the value for a list, or raise BundleError."""
    if not isinstance(value, list):
        raise BundleError(f"'{where}' in manifest.json is not a list: {AGAIN}")
    return value


def integer(where: str, value: object, low: int, high: int) -> int:
    """Take the value for a whole number from low to high, or raise BundleError."""
    if type(value) is not int or not low <= value <= high:
        raise BundleError(f"'{where}' in manifest.json is not a whole number from {low} to {high}: {AGAIN}")
    return value


def number(where: str, value: object, low: float, high: float) -> float:
    """Take the value for a finite number from low to high, or raise BundleError."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise BundleError(f"'{where}' in manifest.json is not a number from {low:g} to {high:g}: {AGAIN}")
    return float(value)


def boolean(where: str, value: object) -> bool:
    """Take the value for true or false, or raise BundleError."""
    if not isinstance(value, bool):
        raise BundleError(f"'{where}' in manifest.json is neither true nor false: {AGAIN}")
    return value
