"""What a run says of itself epoch by epoch: `curves.csv`, for people and spreadsheets, and TensorBoard's files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device.core.errors import TrainingError
from trainer.runs.folder import write_whole

CURVES = "curves.csv"
HELD_OUT_ERROR = "held_out/sound"
_FIRST = ("epoch", "steps", "seconds")


class Logbook:
    """Figures of each epoch of a run, those before an interruption too.

    Parameters
    ----------
    run_dir : Path
    n_epochs : int
        Epochs that count of those that were logged before: a run goes on from its newest checkpoint.

    Raises
    ------
    TrainingError
        The file that is there is damaged.
    """

    def __init__(self, run_dir: Path, n_epochs: int) -> None:
        self._run_dir = run_dir
        self._board: Any = None
        self._rows = [row for row in read_rows(run_dir) if row["epoch"] <= n_epochs]

    @property
    def errors(self) -> list[float]:
        """Held-out error after each epoch."""
        return [row[HELD_OUT_ERROR] for row in self._rows]

    @property
    def seconds(self) -> float:
        """Time of training."""
        return self._rows[-1]["seconds"] if self._rows else 0.0

    @property
    def n_steps(self) -> int:
        """Steps that were done."""
        return int(self._rows[-1]["steps"]) if self._rows else 0

    def write(self, n_epochs: int, n_steps: int, seconds: float, values: Mapping[str, float]) -> None:
        """Add an epoch."""
        from trainer.backend import tf

        self._rows.append({"epoch": n_epochs, "steps": n_steps, "seconds": round(seconds, 2), **values})
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, [*_FIRST, *(name for name in names if name not in _FIRST)], lineterminator="\n")
        table.writeheader()
        table.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self._rows)
        write_whole(self._run_dir / CURVES, text.getvalue())
        if self._board is None:
            self._board = tf.summary.create_file_writer(str(self._run_dir / "tensorboard"))
        with self._board.as_default(step=n_steps):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._board.flush()


def read_rows(run_dir: Path) -> list[dict[str, float]]:
    """The epochs of `curves.csv`, by the names of its columns; none where there is no such file.

    Raises
    ------
    TrainingError
        It is damaged.
    """
    path = run_dir / CURVES
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
        return [row for row in rows if row["epoch"] and row["steps"] and row[HELD_OUT_ERROR] is not None]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise TrainingError(f"{path} is damaged: remove {run_dir} and train again") from error
