"""Rows on disk, one line each as soon as it is known, so that a run that was cut can be gone on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from device.core.errors import UsageError
from device.store.files import replace_synced

Row = dict[str, Any]


class Results:
    """A file of JSON lines: first what all rows have in common, then a row each, with the key of its case.

    Parameters
    ----------
    path : Path
    about : dict, optional
        What all rows have in common, of JSON's types; a file that is there must have the same. None: whatever the
        file says.

    Attributes
    ----------
    about : dict
    rows : dict
        By the key of the case.

    Raises
    ------
    UsageError
        The file is of other takes or steps, or none of these.
    """

    def __init__(self, path: Path, about: Row | None = None) -> None:
        self._path = path
        self.rows: dict[str, Row] = {}
        if not path.exists():
            if about is None:
                raise UsageError(f"{path} is not there: measure something first, with --takes")
            path.write_text(json.dumps({"about": about}) + "\n")
        lines = self._whole_lines()
        self.about: Row = lines[0]["about"]
        if about is not None and about != self.about:
            differing = sorted(key for key in {*about, *self.about} if about.get(key) != self.about.get(key))
            raise UsageError(
                f"{path} holds rows of another {', another '.join(differing)}: give another --out, or remove it"
            )
        for line in lines[1:]:
            self.rows[line.pop("case")] = line

    def add(self, key: str, row: Row) -> None:
        """Keep a row; it is on the disk when this returns."""
        with self._path.open("a") as file:
            file.write(json.dumps({"case": key, **row}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[key] = row

    def _whole_lines(self) -> list[Row]:
        """All lines; one that was cut short at the end is taken from the file."""
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            lines[0]["about"], [line["case"] for line in lines[1:]]
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{self._path} holds no rows of ablations: give another --out") from error
        if len(whole) < len(data):
            replace_synced(self._path, whole)
        return lines
