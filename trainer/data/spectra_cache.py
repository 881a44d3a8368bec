"""Spectra that are computed once: a folder of files named by what is in them, shared by all runs and trainers.

A file's name is the hash of the take's content and of the settings that its spectra depend on; it appears under that
name when the disk has all of it. The folder is bounded: what was not used for longest goes first, what this run uses
never. Who has a file open keeps it, even when another removes it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from device.core.errors import TrainingError, UsageError
from device.store.locks import FolderLock
from device.store.store import Take
from trainer.data.open_files import allow_takes
from trainer.data.spectra_file import Advance, SpectraFile, n_bytes, write_spectra
from trainer.data.take_hash import take_hash
from trainer.settings import ExampleSettings

MOST_GB = 20.0
"""42 hours of takes at 50 frames per second."""
ENDING, PART_ENDING = ".spectra", ".part"
WORTH_PROCESSES = 100_000
"""Columns, some seconds of work: fewer are done before other processes would have begun."""
LONGEST_WAIT_S = 24 * 3600.0


def user_cache() -> Path:
    """The folder for this in the user's cache, where the system has one."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dance-sampler" / "spectra"


@dataclass(frozen=True)
class SpectraCache:
    """A folder of spectra.

    Attributes
    ----------
    folder : Path
        Made when it is needed.
    most_gb : float
        Above this, what was not used for longest is removed.
    """

    folder: Path
    most_gb: float = MOST_GB

    def open(self, takes: Sequence[Take], settings: ExampleSettings) -> list[SpectraFile]:
        """Open the spectra of takes; those that are not there are computed first, side by side.

        Raises
        ------
        TrainingError
            There is no room for them, or they cannot be written or read.
        """
        allow_takes(len(takes))
        paths = [self.folder / f"{key_of(take, settings)}{ENDING}" for take in takes]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = [_opened(path) for path in paths]
            if any(each is None for each in found):
                with _alone_in(self.folder):
                    self._compute(takes, paths, settings)
                found = [_opened(path) for path in paths]
        except OSError as error:
            raise TrainingError(
                f"spectra cannot be kept in {self.folder} ({error.strerror or error}): give another folder by --cache"
            ) from error
        if None in found:
            raise TrainingError(f"spectra in {self.folder} are damaged as soon as they are written: check the disk")
        return [each for each in found if each is not None]

    def _compute(self, takes: Sequence[Take], paths: list[Path], settings: ExampleSettings) -> None:
        # Others may have computed some of them meanwhile; what they left half written is nobody's.
        for part in self.folder.glob(f"*{PART_ENDING}"):
            part.unlink(missing_ok=True)
        missing = {path: take for path, take in zip(paths, takes, strict=True) if _opened(path) is None}
        self._make_room(sum(n_bytes(take, settings) for take in missing.values()), set(paths))
        jobs = [_Job(path, take.path, take.n_columns, settings) for path, take in missing.items()]
        with _progress(sum(job.n_columns for job in jobs)) as bar:
            if sum(job.n_columns for job in jobs) < WORTH_PROCESSES:
                for job in jobs:
                    job.run(bar.update)
            else:
                _side_by_side(jobs, bar.update)

    def _make_room(self, wanted: int, in_use: set[Path]) -> None:
        """Remove what was not used for longest until what is wanted fits the bound and the disk."""
        kept = sorted(self.folder.glob(f"*{ENDING}"), key=lambda path: path.stat().st_mtime)
        used = wanted + sum(path.stat().st_size for path in kept)
        for path in kept:
            if used <= self.most_gb * 1e9 and shutil.disk_usage(self.folder).free > wanted:
                return
            if path not in in_use:
                used -= path.stat().st_size
                path.unlink()
        free = shutil.disk_usage(self.folder).free
        if free <= wanted:
            raise TrainingError(
                f"the spectra of these takes need {wanted / 1e9:.1f} GB, {self.folder} has {free / 1e9:.1f} GB free: "
                "make room, or give a folder on another disk by --cache"
            )


def default_cache() -> SpectraCache:
    """The user's own."""
    return SpectraCache(user_cache())


def key_of(take: Take, settings: ExampleSettings) -> str:
    """Name of what is computed of a take: whatever changes it changes the name."""
    used = {
        "lead_s": settings.lead_s,
        "n_bands": settings.n_bands,
        "body_leads": settings.body_leads,
        **asdict(settings.synth),
    }
    described = f"{sorted(used.items())} {take_hash(take)}"
    return hashlib.sha256(described.encode()).hexdigest()[:40]


def add_cache_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where spectra are kept."""
    argument, default = parser.add_argument, str(user_cache()).replace("%", "%%")
    argument("--cache", type=Path, metavar="DIR", help=f"where spectra are kept ({default})")
    argument("--cache-gb", type=float, default=MOST_GB, metavar="GB", help="at most, but for this run (%(default)s)")


def cache_of(args: argparse.Namespace) -> SpectraCache:
    """The cache that was asked for.

    Raises
    ------
    UsageError
        Its folder is a file, or its bound is none.
    """
    folder: Path = args.cache or user_cache()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give --cache a folder")
    if not args.cache_gb >= 0:
        raise UsageError(f"--cache-gb {args.cache_gb:g} cannot be used: give 0 or more")
    return SpectraCache(folder, args.cache_gb)


def _opened(path: Path) -> SpectraFile | None:
    """Open a whole file and note that it was used; None if there is none."""
    try:
        found = SpectraFile(path)
    except (FileNotFoundError, ValueError, KeyError):
        return None
    with suppress(OSError):  # a folder that may only be read
        os.utime(path)
    return found


@dataclass(frozen=True)
class _Job:
    path: Path
    take: Path
    n_columns: int
    settings: ExampleSettings

    def run(self, advance: Advance = lambda _: None) -> int:
        """Compute one take's spectra; how many columns they have."""
        part = self.path.with_suffix(PART_ENDING)
        try:
            write_spectra(part, Take.open(self.take, check=False), self.settings, advance)
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)
        return self.n_columns


def _run(job: _Job) -> int:
    return job.run()


def _side_by_side(jobs: list[_Job], advance: Advance) -> None:
    """Compute many takes, the longest first, on all processors."""
    n_processes = min(len(jobs), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    # Ctrl-C ends them at once and without a word: this process says what there is to say.
    with ProcessPoolExecutor(n_processes, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_DFL)) as pool:
        done = [pool.submit(_run, job) for job in sorted(jobs, key=lambda job: -job.n_columns)]
        try:
            for each in as_completed(done):
                advance(each.result())
        except BrokenProcessPool as error:
            raise TrainingError("a process that computed spectra was killed: look for memory, try again") from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other trainer computes here: it may compute the same."""
    lock = FolderLock(folder, wait_s=LONGEST_WAIT_S)
    try:
        yield
    finally:
        lock.release()


def _progress(n_columns: int) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=n_columns, unit="column", desc="spectra", disable=not sys.stderr.isatty(), dynamic_ncols=True, leave=False
    )
