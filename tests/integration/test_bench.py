"""The bench itself, with few repetitions: its figures are figures, and what is too slow is said to be."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.core.errors import DanceSamplerError
from device.edges.model import Float32
from device.edges.model_fake import FakeModel
from device.edges.model_tflite import installed_runtimes
from device.models.bundles import FACTORY, write_bundle
from tests.bench.__main__ import RESULTS, SECTIONS, main, measure, results_of
from tests.bench.bench import CLIP, Bench, Effort, Show, open_bench
from tests.bench.figures import MODEL_P99_MS, Figure, Section, of_runs
from tests.bench.parts import measure_model
from tests.bench.results import body, page, verdict
from tests.bench.whole import measure_start
from tests.long import long
from tests.media_files import make_text_file, make_video, moving_bar
from tests.tiny_model import TinyModel, tiny_manifest

FPS, N_FRAMES = 25, 40
SMALL = Effort(
    n_frames=N_FRAMES,
    n_model_runs=50,
    synth_s=0.5,
    n_chain_runs=1,
    n_starts=1,
    real_clock_s=0.5,
    n_growth_frames=20,
    n_growth_runs=50,
    sizes=((8, 6), (32, 24)),
    rates_fps=(25.0, 50.0),
    segments_s=(0.1, 0.2),
    latents=(3, 6),
)
WITH_LIMITS = {"model", "whole chain", "engine", "process start", "memory"}


@pytest.fixture(scope="module")
def show(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Show:
    folder = tmp_path_factory.mktemp("bench")
    write_bundle(folder / "tiny", tiny_manifest(tiny_model.golden()), tiny_model.files)
    return Show(folder / "tiny", make_video(folder / "dance.mp4", moving_bar(N_FRAMES), fps=FPS))


@pytest.fixture(scope="module")
def bench(show: Show) -> Bench:
    return open_bench(show, SMALL)


def test_every_budget_is_measured_once(bench: Bench) -> None:
    about, (section,) = measure(bench, ["budgets"])
    figures = section.figures
    for figure in figures:
        assert figure.values, figure.what
        assert all(math.isfinite(value) for value in figure.values.values()), figure
        assert figure.limit is None or figure.limited in figure.values
        assert figure.what.startswith("underruns") or all(value > 0 for value in figure.values.values()), figure
    by_start = {name: [figure for figure in figures if figure.what.startswith(name)] for name in WITH_LIMITS}
    assert all(figure.limit is not None for found in by_start.values() for figure in found)
    assert {name: len(found) for name, found in by_start.items()} == {
        "model": 2 * len(installed_runtimes()),
        "whole chain": 2,
        "engine": 2,
        "process start": 1,
        "memory": 1,
    }
    (memory,) = by_start["memory"]
    assert 10 < memory.values["PSS"] <= memory.values["RSS"] + 1
    for figure, fps in zip(by_start["whole chain"], (FPS, 60), strict=True):
        assert f"at {fps} fps" in figure.what
    text = page(about, [section])
    assert "tiny, version 7" in text
    assert all(f"| {figure.what} " in text for figure in figures)


@long
def test_growth_has_a_row_for_each_size_and_a_sentence_on_each_kind(bench: Bench) -> None:
    _, (section,) = measure(bench, ["growth"])
    cells = [line.split("|")[1].strip() for line in section.text.splitlines() if line.startswith("| ")]
    for rows in (
        ["frame", "8 x 6", "32 x 24"],
        ["fps", "25", "50"],
        ["window, s", "0.1", "0.2"],
        ["latents", "3", "6"],
    ):
        start = cells.index(rows[0])
        assert [cells[start], *cells[start + 2 : start + 4]] == rows
    for said in ("Motiongram: 16 times the pixels", "Whole chain: 2 times the frames", "Model, f16 on "):
        assert said in section.text
    for variant in ("f16", "int8"):
        assert all(f"{variant} on {runtime}, ms" in section.text for runtime in installed_runtimes())


def test_the_page_has_all_budgets_first_and_how_it_was_measured_last() -> None:
    slow, fast = Figure("slow", "ms", {"p99": 3.0}, 2.0), Figure("fast", "ms", {"p99": 1.0}, 2.0)
    free = Figure("free", "", {"n": 7.0})
    sections = [
        Section("First", [fast, free], how="- **first**: so\n"),
        Section("Second", [slow], "Grows.", how="- **second**: thus\n"),
        Section("Bare", [fast]),
    ]
    text = page({"machine": "here"}, sections)
    order = ["- machine: here", "## Budgets", "| fast ", "| slow ", "1 of 3 limits do not hold: slow.",
             "## First", "| free ", "## Second", "Grows.",
             "## How it is measured", "- **first**: so", "- **second**: thus"]  # fmt: skip
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert (text.count("| slow "), text.count("| free "), "## Bare" in text) == (1, 1, False)
    assert "## Budgets" not in body([Section("Only", text="this")])


class SlowModel(FakeModel):
    """Takes twice as long as is allowed."""

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        until_s = time.perf_counter() + 2e-3 * MODEL_P99_MS
        while time.perf_counter() < until_s:
            pass
        return super().run(motion, noise, position)


def test_a_slow_model_is_over_its_limit() -> None:
    model = SlowModel()
    figure = measure_model(model, [np.zeros((model.n_columns, model.n_features), np.float32)], 10)
    assert figure.values["p50"] >= 2 * MODEL_P99_MS
    assert figure.holds is False
    text = page({}, [Section("It", [figure])])
    assert "| p99 0.5 ms | **NO** |" in text
    assert "1 of 1 limits do not hold: model, fake on fake" in text


def test_a_limit_is_held_up_to_and_not_above() -> None:
    figure = Figure("it", "s", of_runs([1.0, 3.0, 2.0]), 3.0, "worst")
    assert figure.values == {"median": 2.0, "worst": 3.0}
    assert figure.holds is True
    assert replace(figure, limit=2.9).holds is False
    assert replace(figure, values=of_runs([1.0, math.nan])).holds is False
    assert replace(figure, limit=None).holds is None
    assert verdict([figure]) == "All 1 limits hold."


def test_only_the_factory_s_figures_are_kept(show: Show) -> None:
    factory = Show(FACTORY.resolve(), CLIP.resolve())
    assert results_of(factory) == RESULTS
    assert results_of(replace(factory, bundle=show.bundle)) is None
    assert results_of(replace(factory, clip=show.clip)) is None


def test_one_part_alone_is_printed_and_kept_only_where_it_is_told(
    show: Show, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure_it(bench: Bench) -> Section:
        measured.append(bench.show)
        return Section("Apart", text="It is so.")

    monkeypatch.setitem(SECTIONS, "macs", measure_it)
    kept = tmp_path / "page.md"
    arguments = ["--bundle", str(show.bundle), "--clip", str(show.clip), "--only", "macs"]
    assert main([*arguments, "--results", str(kept)]) == 0
    assert measured == [show]
    out, err = capsys.readouterr()
    assert (out, err) == (f"## Apart\n\nIt is so.\nkept in {kept}\n", "")
    assert "It is so." in kept.read_text()
    before = RESULTS.read_bytes()
    assert main(["--only", "macs"]) == 0
    assert RESULTS.read_bytes() == before


def test_what_does_not_play_is_said_in_one_line(show: Show, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_text_file(tmp_path / "dance.mp4")
    assert main(["--bundle", str(show.bundle), "--clip", str(clip)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert str(clip) in err


def test_a_program_that_ends_before_it_plays_has_no_start(show: Show, tmp_path: Path) -> None:
    with pytest.raises(DanceSamplerError, match="exit code 1"):
        measure_start(replace(show, clip=make_text_file(tmp_path / "dance.mp4")), 1)
