"""Our motiongram beside that of musicalgestures 1.32.0, the field's own toolbox, on its own `dancer.avi`.

Both see the same grey frames of 64 x 48 pixels, difference time 0 (the frame before), with which ours is the classic
motiongram.

Equal, to float32: the filters 'Regular' and 'Binary' (without its median), the erosion of 'Blob', the mean of each
row (its y-motiongram) and of each column (its x-motiongram), quantity of motion (its is a sum, ours a mean over the
pixels), and the centroid.

Not equal, and why:

- Its threshold in videos is an integer, 0.04 of 255 rounded to 10, and lets 10 pass; ours, like its function
  `filter_frame`, asks for more than 10.2, which is 11.
- Its 'Blob' has no threshold at all: ours erodes, then takes away what is left below the threshold. Its erosion in
  videos has a radius (2 kernel_size + 1 pixels), ours is 3 x 3.
- Its motiongrams are whole grey levels, rounded, then stretched so that 255 is the clip's loudest; ours keep fractions,
  and two clips can be compared. What is half a grey level or less is lost there: a tenth of the motion in this clip.
- FFmpeg has no difference for the first frame: it writes the second's twice. Ours says zero.
- Where nothing moves its picture is black as FFmpeg rounds it, which is 1 in some pixels; ours is 0.
- Its centroid counts from the middle of the first pixel in x, and from the bottom in y, and is (0, bottom) when
  still; ours counts from the upper left border of the picture, and is its middle when still.
- Its colour mode takes differences of red, green and blue; ours is grey.
- Its `color=False` first writes a copy of the video, compressed with loss; here it is kept from that.
"""

from __future__ import annotations

import importlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.core.frame import Frame
from device.core.motiongram import Motion, Motiongram, MotionSettings

Grey = npt.NDArray[np.uint8]

# It says that it is typed, but its functions are not.
musicalgestures: Any = importlib.import_module("musicalgestures")
filter_frame: Any = importlib.import_module("musicalgestures._filter").filter_frame
motionanalysis: Any = importlib.import_module("musicalgestures._motionanalysis")

DANCER = Path(musicalgestures.__file__).parent / "examples" / "dancer.avi"
HEIGHT, WIDTH = 48, 64
SECONDS = slice(8, 24)
FILTERS = ("Regular", "Binary", "Blob")


@pytest.fixture(scope="module")
def frames() -> Grey:
    """Frames of `dancer.avi`: shape (n_frames, 48, 64)."""
    with av.open(str(DANCER)) as video:
        decoded = (frame for n, frame in enumerate(video.decode(video=0)) if n < 25 * SECONDS.stop)
        kept = [
            frame.reformat(WIDTH, HEIGHT, "gray", interpolation="AREA").to_ndarray()
            for n, frame in enumerate(decoded)
            if n >= 25 * SECONDS.start
        ]
    return np.stack(kept)


def ours(frames: Grey, filter_: str, threshold: float) -> list[Motion]:
    settings = MotionSettings(HEIGHT, WIDTH, difference_time_s=0.0, threshold=threshold, filter=filter_.lower())
    motiongram = Motiongram(settings)
    return [motiongram.push(Frame(grey, n / 25)) for n, grey in enumerate(frames)]


@pytest.mark.parametrize("filter_", ["Regular", "Binary"])
@pytest.mark.parametrize("threshold", [0.0, 0.04, 0.2])
def test_its_functions_give_the_same_columns(frames: Grey, filter_: str, threshold: float) -> None:
    differences = np.abs(np.diff(frames.astype(np.int16), axis=0)).astype(np.uint8)
    moved = np.stack([filter_frame(one, filter_, threshold, 1) for one in differences])  # a median of 1 x 1 is none
    rows, columns = (motionanalysis.motiongram_data(moved, axis, frame_diff=False, normalize=False).T for axis in "yx")
    motions = ours(frames, filter_, threshold)[1:]
    assert np.mean(rows) > 0.01
    np.testing.assert_allclose([m.column for m in motions], np.hstack([rows, columns]), rtol=1e-6, atol=1e-5)


def test_its_difference_is_ours_without_a_threshold(frames: Grey) -> None:
    rows, columns = (motionanalysis.motiongram_data(frames, axis, normalize=False).T for axis in "yx")
    motions = ours(frames, "Regular", 0.0)[1:]
    np.testing.assert_allclose([m.column for m in motions], np.hstack([rows, columns]), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.04])
def test_its_erosion_is_ours_before_the_threshold(frames: Grey, threshold: float) -> None:
    differences = np.abs(np.diff(frames.astype(np.int16), axis=0)).astype(np.uint8)
    eroded = np.stack([filter_frame(one, "Blob", threshold, 3) for one in differences])
    eroded[eroded <= threshold * 255] = 0  # not done there
    expected = np.hstack([eroded.mean(axis=2), eroded.mean(axis=1)])
    assert expected.any()
    np.testing.assert_allclose([m.column for m in ours(frames, "Blob", threshold)[1:]], expected, rtol=1e-6, atol=1e-5)


def test_its_centroid_is_ours_from_another_corner(frames: Grey) -> None:
    differences = np.abs(np.diff(frames.astype(np.int16), axis=0)).astype(np.uint8)
    for difference, motion in zip(differences, ours(frames, "Regular", 0.04)[1:], strict=True):
        moved = filter_frame(difference, "Regular", 0.04, 1).astype(np.uint8)
        (its_x, its_y), its_quantity = motionanalysis.centroid(cv2.cvtColor(moved, cv2.COLOR_GRAY2BGR), WIDTH, HEIGHT)
        assert motion.quantity * HEIGHT * WIDTH == pytest.approx(its_quantity)
        if its_quantity:
            assert motion.centroid_x == pytest.approx((its_x + 0.5) / WIDTH)
            assert motion.centroid_y == pytest.approx(1 - (its_y - 0.5) / HEIGHT)
        else:
            assert (its_x, its_y) == (0, HEIGHT)
            assert (motion.centroid_x, motion.centroid_y) == (0.5, 0.5)


@dataclass(frozen=True)
class Made:
    """What `MgVideo.motion` left: quantity (n,), and the motiongrams, (n, rows) and (n, columns)."""

    quantity: npt.NDArray[np.float64]
    rows: Grey
    columns: Grey


class Ended(subprocess.Popen[Any]):
    """A process that is waited for when it is dropped, its pipe closed.

    It reads FFmpeg's pipe to the end and drops the process, which may live a moment longer: Python would keep it, and
    warn of it when another is started, in whichever test that is.
    """

    def __del__(self) -> None:
        if self.stdout is not None:
            self.stdout.close()
        self.wait()
        super().__del__()


def make(frames: Grey, filter_: str, folder: Path) -> Made:
    """Let it make its files from our frames, kept without loss."""
    with av.open(str(folder / "clip.avi"), "w") as video:
        stream = video.add_stream("ffv1", rate=25, width=WIDTH, height=HEIGHT, pix_fmt="gray")
        assert isinstance(stream, av.VideoStream)
        for grey in frames:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
        video.mux(stream.encode(None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Ended)
        # "Returned by process" keeps it from a lossy grey copy.
        musicalgestures.MgVideo(str(folder / "clip.avi"), color=False, returned_by_process=True).motion(
            filtertype=filter_,
            threshold=0.04,
            kernel_size=1,
            normalize=False,
            save_plot=False,
            save_video=False,
            target_name_data=str(folder / "data.csv"),
            target_name_mgx=str(folder / "x.png"),
            target_name_mgy=str(folder / "y.png"),
        )
    data = np.genfromtxt(folder / "data.csv", delimiter=",", names=True)
    # Each begins with an empty column.
    x, y = (cv2.imread(str(folder / f"{axis}.png"), cv2.IMREAD_GRAYSCALE) for axis in "xy")
    return Made(data["QomRaw"], np.asarray(y, np.uint8)[:, 1:].T, np.asarray(x, np.uint8)[1:])


@pytest.mark.parametrize("filter_", FILTERS)
def test_its_videos_give_the_same_motion_but_for_what_it_rounds(frames: Grey, filter_: str, tmp_path: Path) -> None:
    made = make(frames, filter_, tmp_path)
    # From 10 grey levels on; 'Blob' has no threshold.
    motions = ours(frames, filter_, 0.0 if filter_ == "Blob" else 9.5 / 255)
    quantity = np.array([motion.quantity * HEIGHT * WIDTH for motion in motions])
    assert len(made.quantity) == len(quantity)
    assert made.quantity[0] == made.quantity[1]
    black = made.quantity[1:] - quantity[1:]
    np.testing.assert_allclose(black, black[0], rtol=0, atol=1e-6)
    assert 0 <= black[0] <= HEIGHT * WIDTH
    assert np.ptp(quantity[1:]) > 500

    columns = np.array([motion.column for motion in motions])
    for its, our in ((made.rows[1:], columns[1:, :HEIGHT]), (made.columns[1:], columns[1:, HEIGHT:])):
        step = np.rint(our.max()) / 255
        error = np.abs(its * step - our)
        assert error.max() <= 0.5 + step + (black[0] > 0)
        assert np.percentile(error, 97) <= 0.5 + step


def test_its_whole_grey_levels_lose_small_motion_that_ours_keep(frames: Grey, tmp_path: Path) -> None:
    made = make(frames, "Regular", tmp_path)
    columns = np.array([motion.column for motion in ours(frames, "Regular", 0.04)])
    lost = columns[:, HEIGHT:][made.columns == 0]
    assert (lost > 0).any()
    assert lost.sum() > 0.05 * columns[:, HEIGHT:].sum()
