"""The ablations' rows survive a cut, are not measured twice, and appear in the table beside what was decided."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from device.core.errors import UsageError
from tests.ablations import __main__ as command
from tests.ablations.__main__ import chosen, go_on, main
from tests.ablations.cases import Case, Training, groups
from tests.ablations.results import Results
from tests.ablations.table import page

ABOUT: dict[str, Any] = {"steps": 20, "minutes of takes": 4.0}


def row(loudness: float = 0.5) -> dict[str, Any]:
    """A row as it is measured of a model."""
    return {
        "figures": {
            "loudness_rank_correlation": loudness,
            "pitch_within_semitone": 0.9,
            "brightness_rank_correlation": None,
            "lag_ms": 25.0,
        },
        "n_parameters": 500000,
        "mmacs_a_run": 2.0,
        "runs_per_s": 50.0,
        "training_s": 61.0,
        "inference_ms": 0.1,
        "notes": {"signs_right": 0.5},
    }


def cells(text: str, heading: str) -> dict[str, str]:
    """A line of a table by the headings of its columns."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    found = next(line for line in lines if line[0] == heading)
    head = next(line for line in reversed(lines[: lines.index(found)]) if line[0] == "")
    return dict(zip(head[1:], found[1:], strict=True))


def test_equal_cases_have_one_key_whatever_their_group() -> None:
    made = groups(10.0, has_music=True)
    base = {group.cases[label].key for group, label in (
        (made["heads"], "spectral"), (made["windows"], "0.5 s"), (made["lead"], "0 ms"), (made["latents"], "32"),
        (made["drawing"], "drawn, mean"), (made["integers"], "f16"), (made["data"], "all, 10.0 min"),
    )}  # fmt: skip
    assert base == {"{}"}  # what differs from the default only, so that rows outlive a new choice
    others = [case.key for group in made.values() for case in group.cases.values() if case.key not in base]
    assert len(set(others)) >= 25


def test_amounts_that_are_not_there_are_not_asked_for() -> None:
    assert list(groups(4.0, has_music=False)["data"].cases)[::2] == ["1 min", "3 min", "all, 4.0 min"]
    assert list(groups(31.0, has_music=False)["data"].cases)[::2] == [
        "1 min", "3 min", "10 min", "30 min", "all, 31.0 min",
    ]  # fmt: skip


def test_rows_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    Results(path, ABOUT).add(Case().key, row())
    assert Results(path, ABOUT).rows == {Case().key: row()}


def test_a_row_that_was_cut_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    results = Results(path, ABOUT)
    results.add("first", row(0.1))
    results.add("second", row(0.2))
    for n_cut in (1, 40):
        path.write_bytes(path.read_bytes()[:-n_cut])
        cut = Results(path, ABOUT)
        assert list(cut.rows) == ["first"]
        cut.add("second", row(0.3))
        assert Results(path).rows == {"first": row(0.1), "second": row(0.3)}


class PlugPulledError(Exception):
    """The plug was pulled."""


def test_a_run_that_was_cut_is_gone_on_with(tmp_path: Path) -> None:
    cases = chosen(groups(4.0, has_music=False), "lead,drawing")
    measured: list[str] = []
    n_left = 3

    def measure(case: Case) -> dict[str, Any]:
        if len(measured) == n_left:
            raise PlugPulledError
        measured.append(case.key)
        return row(float(len(measured)))

    with pytest.raises(PlugPulledError):
        go_on(cases, Results(tmp_path / "rows.json", ABOUT), measure)
    known = Results(tmp_path / "rows.json", ABOUT)
    assert [known.rows[key]["figures"]["loudness_rank_correlation"] for key in measured] == [1.0, 2.0, 3.0]
    n_left = len(cases)
    go_on(cases, known, measure)
    assert sorted(measured) == sorted(case.key for case in cases)
    assert set(Results(tmp_path / "rows.json", ABOUT).rows) == set(measured)


def test_what_plays_one_training_comes_together() -> None:
    cases = chosen(groups(10.0, has_music=True), None)
    assert len({case.key for case in cases}) == len(cases)
    trainings = [case.training for case in cases]
    changes = sum(one != other for one, other in pairwise(trainings))
    assert changes == len(set(trainings)) - 1


def test_a_group_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="'colours'"):
        chosen(groups(10.0, has_music=True), "heads,colours")


@pytest.mark.parametrize("other", [{"steps": 30}, {"steps": 20, "minutes of takes": 5.0}])
def test_rows_of_other_takes_or_steps_are_not_mixed(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "rows.json"
    Results(path, ABOUT)
    with pytest.raises(UsageError, match=r"another (minutes of takes|steps)"):
        Results(path, {**ABOUT, **other})


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"version": 2}\n')
    with pytest.raises(UsageError, match="holds no rows"):
        Results(path, ABOUT)
    assert path.read_text() == '{"version": 2}\n'


def test_rows_stand_in_every_table_that_they_belong_to(tmp_path: Path) -> None:
    results = Results(tmp_path / "rows.json", ABOUT)
    results.add(Case().key, row(0.987))
    results.add(Case(Training(lead_s=0.02)).key, row(0.654))
    text = page(groups(4.0, has_music=False), results, {"lead": "20 ms, for it is heard."})
    windows, lead = (text.split(f"## {title}\n")[1].split("\n## ")[0] for title in ("Window lengths", "Lead"))
    assert cells(windows, "loudness rank correlation") == {"0.1 s": "-", "0.25 s": "-", "0.5 s": "0.987", "1 s": "-"}
    assert cells(lead, "loudness rank correlation") == {"0 ms": "0.987", "10 ms": "-", "20 ms": "0.654", "40 ms": "-"}
    assert cells(lead, "MMAC a second of sound")["20 ms"] == "100"
    assert cells(lead, "training, s")["20 ms"] == "61"
    assert "Decision: 20 ms, for it is heard." in lead
    assert "Decision: not yet taken." in windows
    assert cells(windows, "pitch within a semitone, %")["0.5 s"] == "90.0"
    assert "brightness" not in windows  # nobody has that figure
    assert "- steps: 20" in text


def test_a_group_of_which_nothing_was_measured_is_left_out(tmp_path: Path) -> None:
    results = Results(tmp_path / "rows.json", ABOUT)
    results.add(Case(Training(head="mdct")).key, row())
    text = page(groups(4.0, has_music=False), results, {})
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Heads"]


def test_the_table_is_written_from_rows_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Results(tmp_path / "rows.json", ABOUT).add(Case().key, row(0.987))
    target = tmp_path / "PAGE.md"
    assert main(["--out", str(tmp_path / "rows.json"), "--table", "--page", str(target)]) == 0
    assert "0.987" in target.read_text()
    assert str(target) in capsys.readouterr().out


def test_decisions_are_for_groups_that_there_are() -> None:
    decisions = json.loads(Path(command.__file__).with_name("decisions.json").read_text())
    assert set(decisions) <= set(groups(30.0, has_music=True))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to do"),
        (("--table",), "measure something first"),
        (("--takes", "nowhere", "--steps", "20"), "nowhere has no takes"),
        (("--takes", "nowhere"), "--steps is missing"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["--out", str(tmp_path / "rows.json"), *words]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "rows.json").exists()
