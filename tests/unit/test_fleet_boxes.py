from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pytest

from deploy.fleet import ansible as fleet_ansible
from deploy.fleet.ansible import Event, play, read_event, write_variables
from deploy.fleet.boxes import check_boxes
from device.core.errors import UsageError

ARGS = Namespace(inventory="hall,", limit=None)


@pytest.mark.parametrize(
    "box", ["$(touch x)", "`id`", "a b", "a;b", "-oProxyCommand=x", "me@-oX", "a\nb", "", "{{ 1 }}", "a|b", "x" * 300]
)
def test_what_is_no_host_is_refused_with_its_line(box: str) -> None:
    with pytest.raises(UsageError, match=r"boxes\.ini: stage: .* is no name of a host"):
        check_boxes("boxes.ini", {"hall": "hall", "stage": box})


def test_a_box_is_there_once() -> None:
    with pytest.raises(UsageError, match=r"boxes\.ini: hall and stage are one box: leave one out"):
        check_boxes("boxes.ini", {"hall": "10.0.0.7", "loft": "loft", "stage": "10.0.0.7"})


def test_text_is_never_a_template_of_ansibles() -> None:
    written = write_variables({"bundle": 'a "{{ 1 }}"\n', "waves": [1, "50%"], "soak_s": 1.5, "may": True})
    assert written == ('{bundle: !unsafe "a \\"{{ 1 }}\\"\\n", waves: [1, !unsafe "50%"], soak_s: 1.5, may: true}\n')


def test_events_are_read_and_what_else_is_written_is_none() -> None:
    line = b'{"event": "failed", "host": "hall", "task": "T", "tags": ["push"], "stderr": "x\\ndeploy: hall: no\\n"}\n'
    event = read_event(line)
    assert event == Event("failed", "hall", "push", stderr="x\ndeploy: hall: no\n")
    assert (event.why, event.answer) == ("hall: no", {})
    assert Event("failed", "hall", "", msg="non-zero return code", stdout="a\nb\n").why == "b"
    assert Event("failed", "hall", "", msg="'x' is undefined", stderr="a warning").why == "'x' is undefined"
    for other in (b"", b"[WARNING]: x", b"3", b"{}", b'{"event": "ok", "host": "a", "tags": 3}', b"[" * 100_000):
        assert read_event(other) is None


def test_without_ansible_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_ansible, "find_spec", lambda _: None)
    with pytest.raises(
        UsageError, match=f"Ansible is not installed: run {sys.executable} -m pip install --group .*:fleet"
    ):
        play("boxes.yml", ARGS, {}, lambda _: None)


def test_an_inventory_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no inventory .*/none: give a file that names your boxes"):
        play("boxes.yml", Namespace(inventory=str(tmp_path / "none"), limit=None), {}, lambda _: None)
