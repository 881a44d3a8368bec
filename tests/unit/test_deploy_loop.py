"""The round trip without SSH and without TensorFlow: a box and a trainer that behave, and all ways on and back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.box import Box
from deploy.errors import BoxError
from deploy.loop.command import Loop, add_arguments
from deploy.loop.figures import judge, why_not
from deploy.loop.trainer import TrainerError, check_trainer
from device.core.bundle import MODEL_FILES
from device.core.errors import DanceSamplerError, UsageError
from device.core.motiongram import MotionSettings
from device.core.wire import TAKE_FILES
from device.models.bundles import FACTORY, read_manifest
from device.store.store import TakeWriter
from tests.fake_box import FakeSsh
from tests.stand_in_trainer import FIGURES, StandInTrainer


class FailingTrainer(StandInTrainer):
    """One whose failures are told as those of a process are."""

    def run(self, *arguments: str) -> str:
        try:
            return super().run(*arguments)
        except DanceSamplerError as error:
            raise TrainerError(f"trainer {arguments[0]} failed: {error}") from error


class Studio:
    """A workstation, and a box at the other end."""

    def __init__(self, folder: Path, say: Callable[[], str]) -> None:
        self._folder, self._say = folder, say
        self.work, self.ssh = folder / "work", FakeSsh()
        self.trainer = FailingTrainer(folder)
        self.follows(0.8)

    def follows(self, quality: object) -> None:
        """Let the next bundle follow the dance so well; "none": let its training come to nothing."""
        (self._folder / "quality").write_text(str(quality))

    def record(self, *, cancelled: bool = False) -> None:
        """Let one more take lie on the box."""
        writer = TakeWriter(self._folder / "box", MotionSettings(height=4, width=6), 16_000, {})
        writer.add_columns(np.ones((30, 10), np.float32), np.arange(30) / 25.0)
        writer.add_sound(np.arange(20_000, dtype=np.int16), 0.0)
        path = (writer.finish(cancelled=True) if cancelled else writer.finish()).path
        self.ssh.takes[int(path.name)] = {name: (path / name).read_bytes() for name in TAKE_FILES}

    def loop(self, *options: str) -> tuple[int, str]:
        """Give the exit code and what was said."""
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        args = parser.parse_args(["box", *options])
        code = Loop(args, Box(self.ssh), self.work, "mine", self.trainer).go()
        return code, self._say()

    def pushed(self) -> int:
        """How many bundles have gone to the box."""
        return len(self.ssh.uploads)

    def trained(self) -> list[dict[str, str]]:
        """Give the options of each training."""
        return self.trainer.asked("train")

    def end(self, number: int) -> Any:
        return json.loads((self.work / f"rounds/{number:04d}/end.json").read_text())["end"]


@pytest.fixture
def studio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Studio:
    return Studio(tmp_path, lambda: capsys.readouterr().out)


def test_what_is_new_is_learned_and_goes_back(studio: Studio) -> None:
    assert studio.loop("--yes") == (0, "box: no new takes\nthere is no take to learn from yet: record some\n")
    studio.record()
    code, said = studio.loop("--yes")
    assert (code, studio.pushed()) == (0, 1)
    assert "box plays tiny 7" in said
    first = studio.work / "rounds/0001"
    assert f"report: {(first / 'report.html').as_uri()}" in said
    assert read_manifest(first / "bundle").name == "mine"
    code, said = studio.loop("--yes")
    assert (code, studio.pushed(), len(studio.trained())) == (0, 1, 1)
    assert said == f"box: no new takes\nnothing new to learn from; the last round, {first}, was pushed\n"
    studio.record()
    code, said = studio.loop("--yes")
    assert (code, studio.pushed()) == (0, 2)
    assert [path.name for path in sorted((studio.work / "rounds/0002/takes").iterdir())] == ["0001", "0002"]
    assert [options.get("from") for options in studio.trained()] == [None, str(first / "run")]
    # Both bundles play the same.
    asked = studio.trainer.asked("evaluate")[1:]
    assert [options["takes"] for options in asked] == [str(studio.work / "rounds/0002/takes")] * 2
    assert {options["bundle"] for options in asked} == {str(first / "bundle"), str(studio.work / "rounds/0002/bundle")}


def test_a_bundle_whose_figures_fell_is_not_pushed(studio: Studio) -> None:
    studio.record()
    studio.loop("--yes")
    studio.record()
    studio.follows(0.74)
    code, said = studio.loop("--yes")
    assert (code, studio.pushed(), studio.end(2)) == (1, 1, "fell")
    assert (
        "not pushed, its figures fell beyond the margin of 0.05: loudness rank correlation (f16) 0.800 to 0.740" in said
    )
    again = f"python -m deploy push box {studio.work / 'rounds/0002/bundle'} pushes it all the same"
    assert again in said
    code, said = studio.loop("--yes")
    assert (code, studio.pushed()) == (0, 1)
    assert "was not pushed, its figures fell" in said
    assert again in said
    studio.follows(0.76)  # a longer training may do better; it starts from what was pushed, and is compared with that
    code, said = studio.loop("--yes", "--preset", "standard")
    assert (code, studio.pushed()) == (0, 2)
    assert studio.trained()[-1]["preset"] == "standard"
    assert studio.trained()[-1]["from"] == str(studio.work / "rounds/0001/run")


def test_a_first_bundle_that_follows_nothing_is_not_pushed(studio: Studio) -> None:
    studio.record()
    studio.follows(0.12)
    code, said = studio.loop("--yes")
    assert (code, studio.pushed()) == (1, 0)
    assert "loudness rank correlation (f16) 0.100 to 0.120" in said
    assert "band rank correlation, f16                  -    0.120" in said  # what cannot be compared is shown


def test_nothing_is_pushed_unasked(studio: Studio) -> None:
    studio.record()
    code, said = studio.loop()
    assert (code, studio.pushed()) == (0, 0)
    assert "nobody is there to be asked" in said
    code, said = studio.loop("--yes")
    assert (code, studio.pushed(), len(studio.trained())) == (0, 1, 1)  # what was trained is not trained again


def test_a_round_that_waits_gives_way_to_newer_takes(studio: Studio) -> None:
    studio.record()
    studio.loop()
    studio.record()
    studio.loop("--yes")
    assert (studio.pushed(), studio.end(1), studio.end(2)) == (1, "superseded", "pushed")


def test_a_training_that_was_interrupted_goes_on_before_newer_takes(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.record()
    monkeypatch.setattr("signal.pause", _interrupt)
    (studio.work.parent / "hang").touch()
    with pytest.raises(KeyboardInterrupt):
        studio.loop("--yes")
    studio.record()
    code, said = studio.loop("--yes")
    assert (code, studio.end(1)) == (0, "pushed")
    assert "what came since is for the next round" in said
    assert len(list((studio.work / "rounds/0001/run").glob("begun-*"))) == 2
    studio.loop("--yes")
    assert (studio.pushed(), studio.end(2)) == (2, "pushed")


def test_a_training_that_failed_is_tried_again_and_gives_way_to_newer_takes(studio: Studio) -> None:
    studio.record()
    studio.follows("none")
    for _ in range(2):
        with pytest.raises(TrainerError, match="the takes hold too little: record more"):
            studio.loop("--yes")
    assert len(studio.trained()) == 2
    studio.record()
    studio.follows(0.8)
    assert studio.loop("--yes")[0] == 0
    assert (studio.end(1), studio.end(2)) == ("superseded", "pushed")


def test_a_push_that_came_to_nothing_is_repeated_without_another_training(studio: Studio) -> None:
    studio.record()
    studio.ssh.steps = [{"ok": True, "phase": "rolled_back", "reason": "12 dB quieter"}]
    with pytest.raises(BoxError, match="12 dB quieter"):
        studio.loop("--yes")
    studio.ssh.steps = [{"ok": True, "phase": "committed", "name": "mine", "version": 2}]
    code, said = studio.loop("--yes", "--json")
    assert (code, len(studio.trained())) == (0, 1)
    assert json.loads(said.splitlines()[-1])["pushed"] is True


def test_takes_that_nobody_wants_are_not_learned_from(studio: Studio) -> None:
    studio.record(cancelled=True)
    assert "no take to learn from" in studio.loop("--yes")[1]
    studio.record()
    studio.record()
    studio.loop("--yes", "--leave-out", "3")
    assert [path.name for path in (studio.work / "rounds/0001/takes").iterdir()] == ["0002"]
    assert "nothing new to learn from" in studio.loop("--yes")[1]  # it stays left out
    studio.loop("--yes", "--leave-out")
    assert len(list((studio.work / "rounds/0002/takes").iterdir())) == 2
    with pytest.raises(UsageError, match="--leave-out 7: there is no such take"):
        studio.loop("--leave-out", "7")


def test_the_user_names_the_start_and_the_trainers_options(studio: Studio) -> None:
    studio.record()
    studio.loop("--yes", "--from", "factory", "--train", "--segment-s 0.25")
    (options,) = studio.trained()
    assert (options["from"], options["segment-s"]) == ("factory", "0.25")
    assert str(FACTORY) in [each["bundle"] for each in studio.trainer.asked("evaluate")]
    studio.record()
    studio.loop("--yes", "--scratch")
    assert "from" not in studio.trained()[-1]
    assert studio.trained()[-1]["segment-s"] == "0.25"  # as the last time
    with pytest.raises(UsageError, match="there is no run at nowhere"):
        studio.loop("--from", "nowhere")


def test_without_the_trainers_requirements_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tensorflow" else object())
    with pytest.raises(UsageError, match=r"tensorflow is not installed.*run make trainer"):
        check_trainer()


GOOD = {**dict.fromkeys(FIGURES, 0.8), "pitch_within_semitone": 0.9, "liveliness": 1.0, "still_level_dbfs": -90.0}


@pytest.mark.parametrize(
    ("figure", "holds", "falls"),
    [
        ("loudness_rank_correlation", 0.751, 0.749),
        ("loudness_link", 0.751, 0.749),
        ("band_rank_correlation", 1.0, 0.749),
        ("brightness_rank_correlation", 0.751, None),
        ("pitch_within_semitone", 0.851, 0.849),
        ("liveliness", 1.049, 1.051),
        ("liveliness", 0.951, 0.949),
        ("still_level_dbfs", -54.1, -53.9),
        ("still_level_dbfs", -144.0, 0.0),
    ],
)
@pytest.mark.parametrize("variant", MODEL_FILES)
def test_each_figure_of_each_variant_is_judged(variant: str, figure: str, holds: float, falls: float | None) -> None:
    before = dict.fromkeys(MODEL_FILES, GOOD)
    assert why_not(judge({**before, variant: {**GOOD, figure: holds}}, before, 0.05), 0.05) == ""
    assert f"({variant})" in why_not(judge({**before, variant: {**GOOD, figure: falls}}, before, 0.05), 0.05)


def test_what_could_not_be_measured_before_cannot_fall() -> None:
    before = {variant: {**GOOD, "pitch_within_semitone": None} for variant in MODEL_FILES}
    assert why_not(judge(dict.fromkeys(MODEL_FILES, GOOD), before, 0.05), 0.05) == ""


def _interrupt() -> None:
    raise KeyboardInterrupt
