"""What the report is made of: text that cannot harm, pictures and sounds that show what is there, when it was."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from matplotlib.image import imread

from device.core.bundle import MODEL_FILES
from device.core.motiongram import MotionSettings
from device.models.bundles import FACTORY, read_bundle
from device.store.store import Take, TakeWriter, list_takes
from tests.tiny_model import TinyModel
from trainer.evaluating.playing import Span
from trainer.evaluating.table import ROWS
from trainer.reporting.charts import HELD_OUT, LEARNED, curve_chart, map_chart, value_range
from trainer.reporting.curves import Curve, read_curves
from trainer.reporting.latents import LatentMap, find_latent, heights, project
from trainer.reporting.markup import Html, data_uri, join, tag
from trainer.reporting.pictures import N_COLUMNS, frequency_marks, motion_picture, sound_levels_db, sound_picture
from trainer.reporting.scenes import Voice, busiest, make_scenes
from trainer.reporting.words import clock, figure_meanings, minutes, moment, size

RATE_HZ, FPS = 48000, 50
MOTION = MotionSettings(height=6, width=8)


class Reader(HTMLParser):
    """What a browser would read in a page: elements with their attributes, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: Html) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


@pytest.mark.parametrize(
    "hostile", ["<script>x()</script>", '" onload="x()', "' onload='x()", "</p><img src=x>", "&lt;b&gt;", "a & b"]
)
def test_text_stays_text_in_elements_and_in_attributes(hostile: str) -> None:
    found = read(tag("p", "before ", hostile, title=hostile, aria_label="two words"))
    assert found.elements == [("p", {"title": hostile, "aria-label": "two words"})]
    assert found.text == f"before {hostile}"


def test_what_no_page_may_hold_is_shown_as_a_mark() -> None:
    page = tag("p", "a\x00b\x1b[0m\ud800c")
    assert read(page).text == "a\ufffdb\ufffd[0m\ufffdc"
    page.encode("utf-8")


def test_only_html_goes_in_as_it_is() -> None:
    assert join(tag("b", "x"), "<b>", None, 3) == "<b>x</b>&lt;b&gt;3"
    assert tag("audio", controls=True, hidden=False, src=None, class_="a") == '<audio controls class="a"></audio>'
    assert tag("img", alt="") == '<img alt="">'
    assert data_uri("audio/flac", b"abc") == "data:audio/flac;base64,YWJj"


def picture(png: bytes) -> npt.NDArray[np.float64]:
    """Darkness, 0 to 1, shape (height, width)."""
    return np.asarray(1.0 - imread(io.BytesIO(png))[..., :3].mean(axis=-1, dtype=np.float64), np.float64)


def test_motion_is_dark_where_and_when_it_was() -> None:
    times_s = np.array([0.0, 1.0, 2.0, 9.0, 10.0])  # the third frame lasts long
    columns = np.zeros((5, 14), np.float32)
    columns[2, 1] = 30.0
    shown = picture(motion_picture(columns, times_s, 6))
    assert shown.shape == (6, N_COLUMNS)
    dark = shown > 0.5
    assert dark.any(axis=1).tolist() == [False, True, False, False, False, False]  # the second row from the top
    seen = np.flatnonzero(dark[1]) / (N_COLUMNS - 1) * 10.0
    assert (seen[0], seen[-1]) == pytest.approx((2.0, 9.0), abs=0.02)


def test_a_tone_is_dark_at_its_height_and_time() -> None:
    sound = np.zeros(2 * RATE_HZ, np.float32)
    sound[RATE_HZ:] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ)
    level_db = sound_levels_db(sound, RATE_HZ)
    shown = picture(sound_picture(level_db, float(level_db.max())))
    assert shown[:, : N_COLUMNS // 2 - 40].max() < 0.01
    place = dict(frequency_marks(RATE_HZ))["1 kHz"]
    darkest = 1.0 - np.argmax(shown[:, -100]) / (len(shown) - 1)
    assert darkest == pytest.approx(place, abs=0.01)
    quieter = picture(sound_picture(level_db - 30.0, float(level_db.max())))
    assert quieter.max() < shown.max() - 0.2  # all voices are shown on the scale of the real one


def make_take(folder: Path, quantity: npt.NDArray[np.float64]) -> Take:
    """A take with this motion at 50 fps; its sound is a click at every whole second, and starts half a second early."""
    columns = np.repeat(quantity[:, np.newaxis], MOTION.n_features, axis=1).astype(np.float32)
    writer = TakeWriter(folder, MOTION, RATE_HZ, {"name": "clicks"})
    writer.add_columns(columns, 100.0 + np.arange(len(quantity)) / FPS)
    sound = np.zeros(round((len(quantity) / FPS + 1.0) * RATE_HZ), np.float32)
    sound[RATE_HZ // 2 :: RATE_HZ] = 0.5
    writer.add_sound(sound, 99.5)
    writer.finish()
    return list_takes(folder)[-1]


def test_a_scene_is_the_stretch_with_most_motion_and_its_sound(tmp_path: Path) -> None:
    quantity = np.full(30 * FPS, 0.1)
    quantity[17 * FPS : 27 * FPS] = 5.0
    take = make_take(tmp_path, quantity)
    span = Span(take, FPS, take.n_columns)  # it begins a second into the take
    part = busiest(span, 10.0)
    assert (part.times_s[[0, -1]] - take.times_s[0]).tolist() == pytest.approx([17.0, 27.0], abs=0.03)
    assert busiest(span, 99.0) == span
    (scene,) = make_scenes([span], [Voice("real", "Real", "", Span.sound)])
    (track,) = scene.tracks
    played, rate_hz = soundfile.read(io.BytesIO(track.flac), dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(played, track.sound)  # nothing is lost
    clicks_s = np.flatnonzero(played > 0.25) / RATE_HZ + scene.start_s
    np.testing.assert_allclose(clicks_s, np.round(clicks_s), atol=0.001)
    assert scene.duration_s == pytest.approx(20.0, abs=0.03)
    assert scene.start_s <= 17.0


def test_scenes_get_shorter_until_their_sounds_fit(tmp_path: Path) -> None:
    take = make_take(tmp_path, np.ones(30 * FPS))
    rng = np.random.default_rng(0)

    def noise(span: Span) -> npt.NDArray[np.float32]:
        return rng.uniform(-1, 1, len(span.sound())).astype(np.float32)

    voices = [Voice("real", "Real", "", noise), Voice("ours", "Ours", "", noise)]
    spans = [Span(take, start * FPS, (start + 6) * FPS) for start in range(0, 24, 6)]
    scenes = make_scenes(spans, voices, n_bytes=1_500_000)
    assert len(scenes) == 3  # of four spans, the first and the last among them
    assert [scene.span.start // FPS // 6 for scene in scenes] == [0, 2, 3]
    total = sum(len(track.flac) for scene in scenes for track in scene.tracks)
    assert 1_000_000 < total <= 1_500_000
    assert all(2.0 <= scene.duration_s < 4.0 for scene in scenes)


def test_latents_are_found_where_the_noise_comes_in(tiny_model: TinyModel) -> None:
    assert find_latent(tiny_model.files[MODEL_FILES["f16"]]) is not None
    files = read_bundle(FACTORY)
    assert find_latent(files.models["f16"]) is not None


def test_the_map_keeps_the_two_widest_directions() -> None:
    rng = np.random.default_rng(1)
    spread = np.array([0.1, 5.0, 0.1, 2.0])
    latents = rng.standard_normal((500, 4)) * spread + 7.0
    drawn = project(latents)
    assert np.corrcoef(drawn.points[:, 0], latents[:, 1])[0, 1] > 0.99  # and its sign
    assert np.corrcoef(drawn.points[:, 1], latents[:, 3])[0, 1] > 0.99
    assert drawn.shares == pytest.approx((25 / 29, 4 / 29), abs=0.03)
    np.testing.assert_allclose(project(latents).points, drawn.points)
    one = project(latents[:, :1])
    assert one.points.shape == (500, 2)
    assert not one.points[:, 1].any()
    assert not project(np.ones((5, 3))).points.any()


def test_height_is_that_of_the_newest_motion() -> None:
    windows = np.zeros((3, 25, 14), np.float32)
    windows[0, :, 0] = 10.0  # the top row
    windows[1, :10, 0] = 10.0  # once, at the top; now, at the bottom
    windows[1, -5:, 5] = 10.0
    found = heights(windows, 6)
    assert found[0] > 0.9
    assert found[1] < 0.1
    assert np.isnan(found[2])  # nothing moves


def test_map_colours_tell_low_from_high_and_leave_out_what_has_none() -> None:
    values = np.array([0.0, 1.0, np.nan])
    chart = map_chart(LatentMap(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]), (0.6, 0.4)), values, "a <map>")
    circles = [attributes for name, attributes in read(chart).elements if name == "circle"]
    fills = [circle["fill"] for circle in circles]
    assert len(set(fills)) == 3
    assert fills[2] == "none"
    assert float(circles[1]["cy"] or 0) < float(circles[0]["cy"] or 0)  # up is up
    assert value_range(np.array([np.nan])) == (0.0, 1.0)


def test_curves_take_the_colours_of_the_page_and_share_no_names() -> None:
    steps = np.arange(1.0, 50.0)
    curves = {LEARNED: Curve(steps, 1 / steps), HELD_OUT: Curve(steps, 2 / steps)}
    charts = [curve_chart(curves, f'"{name}" & <co>') for name in ("sound", "loss")]
    names = []
    for chart in charts:
        elements = read(chart).elements
        assert elements[0][1]["role"] == "img"
        assert "var(--accent)" in chart
        assert "var(--motion)" in chart
        assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r"url\(#|href=\"#", "", chart))
        names += [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(names) == len(set(names))


def test_a_run_without_a_log_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}


def test_every_figure_says_what_it_means() -> None:
    meanings = figure_meanings()
    for name, *_ in ROWS:
        assert len(meanings[name]) > 20
        assert not re.search(r"`|\bNone\b|^The same", meanings[name])


def test_lengths_sizes_and_times_are_those_that_people_read() -> None:
    assert [minutes(s) for s in (42, 90, 204, 7200)] == ["42 s", "90 s", "3.4 min", "2.0 h"]
    assert clock(65.9) == "1:05"
    assert [size(n) for n in (663_736, 1_202_004)] == ["664 kB", "1.20 MB"]
    assert moment(1_795_379_632) == "2026-11-22 20:33 UTC"
    assert moment(7) is None  # a version number that is no time
