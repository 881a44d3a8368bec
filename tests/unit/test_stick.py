"""Sticks: what is copied is whole and compared, what is there stays, what is odd or pulled harms nobody."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import device.stick.stick_copy
import device.stick.stick_folder
from device.core.errors import BundleError
from device.core.motiongram import MotionSettings
from device.stick.stick import StickReport, box_name, serve_stick
from device.stick.stick_copy import SUMS, StickError
from device.store.store import Take, TakeWriter

BOX = "foyer-123456"
RATE_HZ = 8000


def record(takes_dir: Path, seed: int = 0, n_seconds: int = 12) -> Path:
    rng = np.random.default_rng(seed)
    writer = TakeWriter(takes_dir, MotionSettings(), RATE_HZ, {"seed": seed})
    n_columns = 50 * n_seconds
    writer.add_columns(rng.random((n_columns, 112), np.float32), np.arange(n_columns) / 50.0)
    for second in range(n_seconds):
        writer.add_sound(rng.standard_normal(RATE_HZ).astype(np.float32) / 8, float(second))
    return writer.finish().path


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    """The box's takes: two."""
    folder = tmp_path / "state" / "takes"
    record(folder, 1)
    record(folder, 2)
    return folder


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A stick that is ours."""
    folder = tmp_path / "stick"
    (folder / "dance-sampler").mkdir(parents=True)
    return folder


def serve(stick: Path, takes: Path, install: Callable[[dict[str, bytes]], str] | None = None) -> StickReport:
    return serve_stick(stick, takes, install=install, box=BOX)


def there(stick: Path, box: str = BOX) -> Path:
    return stick / "dance-sampler" / "takes" / box


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_takes_are_on_the_stick_as_they_are_on_the_box_with_sums_that_others_can_check(
    stick: Path, takes: Path
) -> None:
    report = serve(stick, takes)
    assert (report.n_copied, report.n_there, report.n_left, report.problems) == (2, 0, 0, [])
    for number in ("0001", "0002"):
        copy = there(stick) / number
        assert {k: v for k, v in contents(copy).items() if k != SUMS} == contents(takes / number)
        assert Take.open(copy).n_samples == 12 * RATE_HZ
        done = subprocess.run(["sha256sum", "-c", SUMS], cwd=copy, capture_output=True, check=False)
        assert done.returncode == 0
    assert sorted(path.name for path in there(stick).iterdir()) == ["0001", "0002"]


def test_plugged_in_again_only_what_is_new_is_copied(stick: Path, takes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(stick, takes)
    before = contents(stick)
    record(takes, 3)
    written = counted(monkeypatch)
    report = serve(stick, takes)
    assert (report.n_copied, report.n_there) == (1, 2)
    assert sum(written) == sum(path.stat().st_size for path in (takes / "0003").iterdir())
    assert {name: data for name, data in contents(stick).items() if name in before} == before


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much is written of takes' files, a number a piece."""
    sizes: list[int] = []
    write_at = device.stick.stick_copy._write_at

    def count(descriptor: int, data: bytes, offset: int) -> None:
        sizes.append(len(data))
        write_at(descriptor, data, offset)

    monkeypatch.setattr(device.stick.stick_copy, "_write_at", count)
    return sizes


def failing(monkeypatch: pytest.MonkeyPatch, code: int, after_bytes: int) -> None:
    """A stick that takes so many bytes, and then nothing."""
    left, write_at = [after_bytes], device.stick.stick_copy._write_at

    def write(descriptor: int, data: bytes, offset: int) -> None:
        write_at(descriptor, data[: left[0]], offset)
        if len(data) > left[0]:
            raise OSError(code, os.strerror(code))
        left[0] -= len(data)

    monkeypatch.setattr(device.stick.stick_copy, "_write_at", write)


@pytest.mark.parametrize("after_bytes", [0, 100_000, 300_000, 500_000])
def test_a_stick_that_is_pulled_leaves_no_torn_take_and_goes_on_where_it_was(
    stick: Path, takes: Path, after_bytes: int
) -> None:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(device.stick.stick_copy, "PIECE_BYTES", 50_000)
    box = contents(takes)
    with monkeypatch.context() as pulled:
        failing(pulled, errno.EIO, after_bytes)
        report = serve(stick, takes)
    assert report.n_copied + report.n_left == 2
    assert report.problems == ["the stick was pulled before all was done, or fails: plug it in again, and it goes on"]
    whole = [path for path in there(stick).iterdir() if path.name[0] != "."]
    assert len(whole) == report.n_copied
    assert all(Take.open(path) for path in whole)
    written = counted(monkeypatch)
    again = serve(stick, takes)
    monkeypatch.undo()
    assert (again.n_copied + again.n_there, again.problems) == (2, [])
    assert sum(written) <= sum(map(len, box.values())) - after_bytes + 50_000
    assert contents(takes) == box


def test_what_an_earlier_try_left_is_not_believed(stick: Path, takes: Path) -> None:
    part = there(stick) / ".0001.part"
    part.mkdir(parents=True)
    sound = (takes / "0001" / "sound.bin").read_bytes()
    (part / "sound.bin").write_bytes(sound[:70_000] + b"x" * 70_000)
    (part / "take.json").write_bytes((takes / "0001" / "take.json").read_bytes() + b"more")
    (part / "columns.bin").write_bytes((takes / "0002" / "columns.bin").read_bytes() + b"more")
    (part / "other.bin").write_bytes(b"x")
    assert serve(stick, takes).problems == []
    copied = contents(there(stick) / "0001")
    assert {name: data for name, data in copied.items() if name != SUMS} == contents(takes / "0001")


def test_another_take_of_the_same_name_is_left_as_it_is(stick: Path, takes: Path, tmp_path: Path) -> None:
    serve(stick, takes)
    before = contents(there(stick))
    other = tmp_path / "other" / "takes"
    record(other, 7)
    report = serve(stick, other)
    assert (report.n_copied, report.problems) == (1, [])
    assert contents(there(stick)) == before
    assert Take.open(there(stick, f"{BOX}-2") / "0001").facts.source == {"seed": 7}
    assert serve(stick, other).n_there == 1


@pytest.mark.parametrize("damage", ["sums", "short", "facts"])
def test_a_copy_that_is_not_whole_is_neither_believed_nor_touched(stick: Path, takes: Path, damage: str) -> None:
    serve(stick, takes)
    copy = there(stick) / "0001"
    if damage == "sums":
        (copy / SUMS).unlink()
    elif damage == "short":
        (copy / "sound.bin").write_bytes((copy / "sound.bin").read_bytes()[:-1])
    else:
        (copy / "take.json").write_bytes((copy / "take.json").read_bytes().replace(b"8000", b"9000"))
    before = contents(copy)
    report = serve(stick, takes)
    assert (report.n_copied, report.n_there) == (1, 1)
    assert contents(copy) == before
    assert Take.open(there(stick, f"{BOX}-2") / "0001")


def test_a_stick_that_gives_back_what_was_not_written_is_found_out(
    stick: Path, takes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_at = device.stick.stick_copy._write_at

    def flip(descriptor: int, data: bytes, offset: int) -> None:
        write_at(descriptor, bytes([data[0] ^ 1]) + data[1:], offset)

    monkeypatch.setattr(device.stick.stick_copy, "_write_at", flip)
    report = serve(stick, takes)
    assert (report.n_copied, report.n_left) == (0, 2)
    assert "came back otherwise than written: use another stick" in report.problems[0]
    assert not [path for path in there(stick).iterdir() if path.name[0] != "."]


def test_what_does_not_fit_is_said_and_leaves_its_room_to_what_does(
    stick: Path, takes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(takes, 3, n_seconds=1)
    small = sum(path.stat().st_size for path in (takes / "0003").iterdir()) + device.stick.stick_copy.LEFT_FREE_BYTES
    monkeypatch.setattr(device.stick.stick_folder.StickFolder, "free_bytes", small)
    report = serve(stick, takes)
    assert (report.n_copied, report.n_left) == (1, 2)
    assert report.problems == ["take 0001 does not fit", "take 0002 does not fit"]
    assert [path.name for path in there(stick).iterdir()] == ["0003"]


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "does not fit"), (errno.EFBIG, "is too large for the stick's file system: use exFAT")],
)
def test_a_stick_that_is_full_in_the_middle_keeps_no_half_take(
    stick: Path, takes: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    failing(monkeypatch, code, 100_000)
    report = serve(stick, takes)
    assert report.problems == [f"take 0001 {said}", f"take 0002 {said}"]
    assert list(there(stick).iterdir()) == []


def test_a_stick_that_cannot_be_written_to_is_said_and_its_bundle_is_installed_all_the_same(
    stick: Path, takes: Path
) -> None:
    (stick / "dance-sampler" / "bundle").mkdir()

    def refuse() -> None:
        raise StickError("the stick is read-only: move its switch")

    report = serve_stick(stick, takes, install=lambda _: "salsa 3", box=BOX, allow_writing=refuse)
    assert (report.installed, report.n_left, report.problems) == (
        "salsa 3",
        2,
        ["the stick is read-only: move its switch"],
    )
    assert not (stick / "dance-sampler" / "takes").exists()


def test_a_stick_without_our_folder_is_let_be(tmp_path: Path, takes: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "bundle").mkdir(parents=True)
    (folder / "takes").mkdir()
    report = serve(folder, takes, install=lambda _: "never")
    assert report == StickReport()
    assert str(report) == "the stick has no folder dance-sampler: nothing was done"
    assert contents(folder) == {}


def test_a_take_that_is_being_recorded_is_left_alone(stick: Path, tmp_path: Path) -> None:
    takes = tmp_path / "state" / "takes"
    writer = TakeWriter(takes, MotionSettings(), RATE_HZ, {})
    assert serve(stick, takes) == StickReport(is_ours=True)
    assert not there(stick).exists()
    writer.close()


def harm(tmp_path: Path) -> Path:
    """A folder of the box's own that a stick would like to reach."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "sound.bin").write_bytes(b"mine")
    return folder


PART = f"dance-sampler/takes/{BOX}/.0001.part"
HOSTILE = [
    ("dance-sampler", "link"),
    ("dance-sampler/takes", "link"),
    ("dance-sampler/takes", "file"),
    ("dance-sampler/takes", "pipe"),
    (f"dance-sampler/takes/{BOX}", "link"),
    (PART, "link"),
    (f"{PART}/sound.bin", "link"),
    (f"{PART}/sound.bin", "pipe"),
    (f"{PART}/{SUMS}", "link"),
    (f"dance-sampler/takes/{BOX}/0001/take.json", "pipe"),
    (f"dance-sampler/takes/{BOX}/0001/take.json", "link"),
]


def plant(path: Path, kind: str, precious: Path) -> None:
    """Put something odd where the box expects a folder or a file."""
    if path.is_dir():
        path.rmdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        path.symlink_to(precious / "sound.bin" if path.name in ("sound.bin", SUMS) else precious)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"x")


@pytest.mark.parametrize(("where", "kind"), HOSTILE)
def test_a_hostile_stick_reaches_nothing_of_the_box_and_holds_nobody_up(
    stick: Path, takes: Path, tmp_path: Path, where: str, kind: str
) -> None:
    precious, before = harm(tmp_path), contents(takes)
    plant(stick / where, kind, precious)
    report = serve(stick, takes)
    assert contents(precious) == {"sound.bin": b"mine"}
    assert contents(takes) == before
    assert report.problems or report == StickReport() or report.n_copied == 2


@pytest.mark.parametrize("name", ["0001", ".0001.part"])
def test_a_file_where_a_take_would_be_is_not_overwritten(stick: Path, takes: Path, name: str) -> None:
    there(stick).mkdir(parents=True)
    (there(stick) / name).write_bytes(b"mine")
    serve(stick, takes)
    assert (there(stick) / name).read_bytes() == b"mine"


def test_a_folder_full_of_names_is_not_read_for_ever(stick: Path, takes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.stick.stick_folder, "MOST_NAMES", 5)
    bundle = stick / "dance-sampler" / "bundle"
    bundle.mkdir()
    for n in range(50):
        (bundle / f"{n}{'x' * 240}").touch()
    assert device.stick.stick_folder.StickFolder.open(bundle).names()[5:] == []
    assert serve(stick, takes, install=lambda _: "a").installed == "a"


def bundle_on(stick: Path, **files: bytes) -> Path:
    folder = stick / "dance-sampler" / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(b"{}")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_the_bundles_files_are_handed_to_the_installation_and_what_other_systems_leave_is_not(
    stick: Path, takes: Path
) -> None:
    folder = bundle_on(
        stick, **{"manifest.json.sig": b"sig", ".DS_Store": b"x", "._manifest.json": b"x", "run.sh": b"x"}
    )
    (folder / "model.f16.tflite").symlink_to("/etc/passwd")
    os.mkfifo(folder / "model.int8.tflite")
    given: list[dict[str, bytes]] = []

    def install(files: dict[str, bytes]) -> str:
        given.append(files)
        return "salsa 3"

    report = serve(stick, takes, install)
    assert given == [{"manifest.json": b"{}", "manifest.json.sig": b"sig"}]
    assert (report.installed, report.n_copied, report.problems) == ("salsa 3", 2, [])


def test_a_bundle_that_is_refused_is_said_and_takes_are_copied_all_the_same(stick: Path, takes: Path) -> None:
    bundle_on(stick)

    def refuse(_: dict[str, bytes]) -> str:
        raise BundleError("it is not signed: export it with a key")

    report = serve(stick, takes, refuse)
    assert report.problems == ["no model was installed: it is not signed: export it with a key"]
    assert (report.installed, report.n_copied) == (None, 2)


def test_a_bundle_that_is_too_large_is_not_read_to_its_end(stick: Path, takes: Path) -> None:
    folder = bundle_on(stick)
    with (folder / "model.f16.tflite").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room
    report = serve(stick, takes, lambda _: "never")
    assert report.installed is None
    assert "model.f16.tflite is larger than" in report.problems[0]


def test_a_bundle_that_is_a_link_is_refused(stick: Path, takes: Path, tmp_path: Path) -> None:
    (stick / "dance-sampler" / "bundle").symlink_to(tmp_path)
    report = serve(stick, takes, lambda _: "never")
    assert (report.installed, report.n_copied) == (None, 2)
    assert "no model was installed" in report.problems[0]


def test_how_far_it_has_come_is_told(stick: Path, takes: Path) -> None:
    told: list[tuple[str, int, int]] = []
    serve_stick(stick, takes, install=None, box=BOX, tell=lambda *each: told.append(each))
    assert told[-1][1] == told[-1][2] == sum(map(len, contents(takes).values()))
    assert [n for _, n, _ in told] == sorted(n for _, n, _ in told)
    assert {what for what, _, _ in told} == {f"takes are copied to the stick: {n} of 2" for n in (1, 2)}


def test_a_take_that_the_box_cannot_read_does_not_keep_others_back(
    stick: Path, takes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_files = device.stick.stick_copy.source_files

    def without_first(take: Path) -> dict[str, int]:
        if take.name == "0001":
            raise OSError(errno.EIO, "Input/output error", str(take))
        return source_files(take)

    monkeypatch.setattr(device.stick.stick_copy, "source_files", without_first)
    report = serve(stick, takes)
    assert (report.n_copied, report.n_left) == (1, 1)
    assert "cannot be read (Input/output error): check the card" in report.problems[0]


def test_boxes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    ids = [tmp_path / "a", tmp_path / "b"]
    for n, path in enumerate(ids):
        path.write_text(f"{n}\n")
    names = [box_name("rasp berry/pi", path) for path in ids]
    assert names[0] != names[1]
    assert all(name.startswith("rasp-berry-pi-") for name in names)
    assert box_name("pi", tmp_path / "none") == "pi"
    assert box_name("///", tmp_path / "none") == "box"


def test_nothing_of_a_stick_is_left_open(stick: Path, takes: Path) -> None:
    descriptors = Path("/proc/self/fd")
    n_before = len(list(descriptors.iterdir()))
    serve(stick, takes)
    shutil.rmtree(stick / "dance-sampler")
    (stick / "dance-sampler").symlink_to("/")
    serve(stick, takes)
    assert len(list(descriptors.iterdir())) == n_before
