"""The report, opened in a browser from a file, without a network: it is whole, it plays, it fits, it does no harm."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from device.cli import run
from tests.eventually import eventually
from tests.report_page import HOSTILE, SEGMENT_S, make_bundle, make_takes
from trainer.__main__ import COMMANDS

pytestmark = pytest.mark.timeout(200)

BROWSERS = ("chromium", "google-chrome")
LEGIBLE = 4.5
"""Contrast of text with what it stands on that the Web Content Accessibility Guidelines 2.2 ask for (1.4.3)."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with takes, run, bundle, and the page of them: report.html."""
    folder = tmp_path_factory.mktemp("report")
    line = [sys.executable, "-m", "tests.report_page", str(folder)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith(f"{folder}/report.html: ")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert path is not None, "there is no Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path)
        yield opened
        opened.close()


class Watched:
    """The page in a browser that is offline; what it asked for and complained of."""

    def __init__(self, context: BrowserContext, path: Path) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("requestfailed", lambda request: self.said.append(f"failed: {request.url[:80]}"))
        self.page.on("request", lambda request: self.asked.append(request.url[:80]))
        self.page.goto(path.as_uri())
        until(self.page, "() => [...document.querySelectorAll('audio')].every(one => one.readyState > 0)")


def until(page: Page, holds: str, arg: object = None) -> None:
    """Look until it holds; Playwright's own way evaluates a string in the page, whose policy forbids it."""
    eventually(lambda: bool(page.evaluate(holds, arg)))


def watch(browser: Browser, made: Path, width: int = 1280, dark: bool = False) -> Watched:
    scheme = "dark" if dark else "light"
    size = {"width": width, "height": 900}
    context = browser.new_context(offline=True, color_scheme=scheme, viewport=size)  # type: ignore[arg-type] # both fit
    context.set_default_timeout(20_000)
    return Watched(context, made / "report.html")


@pytest.fixture(scope="module")
def seen(browser: Browser, made: Path) -> Watched:
    return watch(browser, made)


@pytest.fixture
def page(seen: Watched) -> Page:
    """The page with all sounds at their beginning, and still."""
    seen.page.evaluate("document.querySelectorAll('audio').forEach(one => { one.pause(); one.currentTime = 0; })")
    return seen.page


def test_it_complains_of_nothing_and_asks_nobody(seen: Watched, made: Path) -> None:
    assert seen.said == []
    assert [url for url in seen.asked if not url.startswith("data:")] == [(made / "report.html").as_uri()]


def test_every_picture_is_there_and_is_described(page: Page) -> None:
    pictures = page.evaluate("[...document.images].map(one => [one.naturalWidth, one.naturalHeight, one.alt])")
    assert len(pictures) == 2 * (1 + 4)  # of each take the motion and four voices
    assert all(width > 100 and height > 10 and len(alt) > 20 for width, height, alt in pictures)
    drawn = page.evaluate("[...document.querySelectorAll('svg[role=img]')].map(one => one.getAttribute('aria-label'))")
    assert len(drawn) == 4
    assert all(len(label) > 10 for label in drawn)


def test_every_sound_plays_to_where_it_should(page: Page) -> None:
    players = page.locator("audio")
    assert players.count() == 2 * 4
    for player in players.all():
        player.evaluate("one => one.play()")
        handle = player.element_handle()
        until(page, "one => one.currentTime > 0.05 && !one.error", handle)
        playing = page.evaluate("[...document.querySelectorAll('audio')].filter(one => !one.paused).length")
        assert playing == 1  # the one before fell silent
    durations_s = set(page.evaluate("[...document.querySelectorAll('audio')].map(one => one.duration.toFixed(3))"))
    assert len(durations_s) == 1  # equal takes, and all voices as long as the real sound
    assert 6.0 < float(durations_s.pop()) < 7.0  # the half of 14 s that was held out


def test_a_second_voice_goes_on_at_the_same_moment(page: Page) -> None:
    first, second = page.locator(".scene").first.locator("audio").all()[:2]
    first.evaluate("one => { one.currentTime = 3; return one.play(); }")
    until(page, "one => one.currentTime > 3.05", first.element_handle())
    second.evaluate("one => one.play()")
    until(page, "one => one.currentTime > 3.05", second.element_handle())
    assert first.evaluate("one => one.paused")


def test_a_click_into_a_picture_plays_from_there_and_the_head_follows(page: Page) -> None:
    track = page.locator(".track").nth(1)
    plot = track.locator(".plot")
    box = plot.bounding_box()
    assert box is not None
    player = track.locator("audio")
    player.evaluate("one => one.addEventListener('playing', () => { window.began_s ??= one.currentTime; })")
    plot.click(position={"x": 0.5 * box["width"], "y": 20})
    until(page, "() => window.began_s !== undefined")
    duration_s = player.evaluate("one => one.duration")
    assert page.evaluate("window.began_s") == pytest.approx(duration_s / 2, abs=0.5)
    player.evaluate("one => one.pause()")
    share = player.evaluate("one => 100 * one.currentTime / one.duration")
    until(
        page,
        "share => [...document.querySelector('.scene').querySelectorAll('.head')]"
        ".every(one => !one.hidden && Math.abs(parseFloat(one.style.left) - share) < 2)",
        share,
    )
    assert page.locator(".scene").first.locator(".head").count() == 5


def test_it_is_worked_by_keyboard_alone(page: Page) -> None:
    player = page.locator("audio").first
    player.focus()
    page.keyboard.press("Space")
    until(page, "one => one.currentTime > 0.05", player.element_handle())
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(one => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(browser: Browser, made: Path, width: int, dark: bool) -> None:
    found = watch(browser, made, width, dark)
    found.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert found.page.evaluate("document.documentElement.scrollWidth") == width
    assert found.said == []
    texts = found.page.evaluate(_COLOURS)
    assert len(texts) > 100
    worst = min(texts, key=lambda text: contrast(text[1], text[2]))
    assert contrast(worst[1], worst[2]) >= LEGIBLE, worst
    paper = luminance(found.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.1) if dark else (paper > 0.8)
    found.page.context.close()


def test_on_paper_it_is_light_without_players(browser: Browser, made: Path) -> None:
    found = watch(browser, made, dark=True)
    found.page.emulate_media(media="print")
    assert luminance(found.page.evaluate("getComputedStyle(document.body).backgroundColor")) == pytest.approx(1.0)
    assert not found.page.locator("audio").first.is_visible()
    assert found.page.locator("img").first.is_visible()
    found.page.context.close()


def test_a_name_is_text_whatever_it_holds(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.locator(".scene h3").first.inner_text().endswith(HOSTILE)
    assert page.get_by_text("<b>odd</b>").count() == 1
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.hacked = 2'}))")
    assert page.evaluate("window.hacked") is None  # the page runs no script but its own


def test_curves_maps_and_figures_are_those_of_the_run(page: Page) -> None:
    captions = page.locator("#training figcaption").all_inner_texts()
    # 1 / 501 + 1 and 2 / 501: the log that went on counts.
    assert captions[0].endswith("At the end 1 in training, 0.00399 held out.")
    assert page.locator("#latents circle").count() > 500
    heads = [head.lower() for head in page.locator("table.figures thead th").all_inner_texts()]
    baseline = f"baseline, {SEGMENT_S:g} s"
    assert heads[:4] == ["figure", "ours, f16", "ours, int8", baseline]
    assert {"null", "ceiling"} <= set(heads)
    lag = page.locator("table.figures tr", has_text="lag, ms").locator("td").nth(heads.index(baseline) - 1)
    assert float(lag.inner_text()) == pytest.approx(1000 * SEGMENT_S, abs=5)
    for meaning in page.locator("table.figures .meaning").all_inner_texts():
        assert len(meaning) > 20
    assert page.locator("#costs tbody tr").count() == 2


def refused(capsys: pytest.CaptureFixture[str], code: int, says: str, *options: object) -> None:
    """The command ends with one line and an exit code."""
    assert run("trainer", "", COMMANDS, ["report", *map(str, options)]) == code
    said = capsys.readouterr()
    assert re.fullmatch(rf"trainer: [^\n]*{says}[^\n]*\n", said.err), said.err
    assert said.out == ""


def test_what_cannot_be_reported_is_one_line_and_no_page(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "report.html"
    parts = ("--bundle", made / "bundle", "--takes", made / "takes")
    refused(capsys, 2, "give --run, or --bundle and --takes", "--bundle", made / "bundle", "--out", out)
    refused(capsys, 2, "nothing to report on", "--takes", made / "takes", "--out", out)
    refused(capsys, 2, "is a folder: give --out", *parts, "--out", tmp_path)
    refused(capsys, 2, "is a file, so", *parts, "--out", made / "report.html" / "page.html")
    refused(capsys, 1, "holds no run", "--run", tmp_path, "--out", out)
    refused(capsys, 1, "is not finished", "--run", made / "run", "--out", out)
    refused(capsys, 1, "has no takes", "--bundle", made / "bundle", "--takes", tmp_path, "--out", out)
    assert not out.parent.exists()


def test_what_is_damaged_or_gone_is_one_line_and_no_page(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "report.html"
    shutil.copytree(made / "run", tmp_path / "run")
    settings = (made / "run" / "run.json").read_text()
    (tmp_path / "run" / "run.json").write_text(json.dumps({**json.loads(settings), "settings": {}}))
    refused(capsys, 1, "run.json is damaged", "--run", tmp_path / "run", "--bundle", made / "bundle", "--out", out)
    (tmp_path / "run" / "run.json").write_text(settings.replace('"n_latent": 32', '"n_latent": 31'))
    refused(capsys, 2, "is not of this run", "--run", tmp_path / "run", "--bundle", made / "bundle", "--out", out)
    (tmp_path / "run" / "run.json").write_text(settings.replace("0001", "0009"))
    refused(capsys, 1, "0009 of this run is gone", "--run", tmp_path / "run", "--bundle", made / "bundle", "--out", out)
    shutil.copytree(made / "bundle", tmp_path / "bundle")
    (tmp_path / "bundle" / "model.int8.tflite").unlink()
    refused(capsys, 1, "model.int8.tflite is missing", "--bundle", tmp_path / "bundle", "--takes", made / "takes",
            "--out", out)  # fmt: skip
    assert not out.parent.exists()


def test_silent_takes_are_one_line_and_the_page_before_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle")
    make_takes(tmp_path / "takes", ("silent",), gain=0.0)
    out = tmp_path / "report.html"
    out.write_text("the page before")
    parts = ("--bundle", tmp_path / "bundle", "--takes", tmp_path / "takes", "--out", out)
    refused(capsys, 1, "the real sound is silent: choose takes with sound", *parts)
    assert out.read_text() == "the page before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "report.html", "takes"]


# Every text that is shown, its colour, and the colour that lies behind it.
_COLOURS = """
() => {
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!colour.endsWith(", 0)") && colour !== "transparent") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const node = walker.currentNode.parentElement;
    if (!text || ["SCRIPT", "STYLE"].includes(node.tagName) || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    found.push([text.slice(0, 40), node.namespaceURI.endsWith("svg") ? style.fill : style.color, behind(node)]);
  }
  return found;
}
"""


def luminance(colour: str) -> float:
    """Relative luminance of 'rgb(r, g, b)', 0 to 1, as WCAG 2.2 defines it."""
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4) for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21, as WCAG 2.2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
