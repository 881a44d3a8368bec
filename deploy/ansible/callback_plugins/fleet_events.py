"""Ansible's end of `python -m deploy fleet`: what happens, one JSON object a line, for `deploy.fleet.ansible` to read.

Ansible finds it by `ANSIBLE_STDOUT_CALLBACK=fleet_events`; whoever runs the playbooks by hand never meets it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase

# Ansible reads it, and refuses a plugin without it.
DOCUMENTATION = """
name: fleet_events
type: stdout
short_description: What happens to each host, one JSON object a line
description:
  - Read by python -m deploy fleet, which says it in its own words.
"""
_TOLD = ("msg", "rc", "stdout", "stderr")


class CallbackModule(CallbackBase):
    """Tells of the start of each task on each host, and of its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "fleet_events"

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Tell that a host is at a task now."""
        self._tell("start", host, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Tell that a task is done."""
        self._tell_end("ok", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Tell that a host needs no such task."""
        self._tell_end("skipped", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Tell that a task failed, and what it said."""
        if not ignore_errors:
            self._tell_end("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Tell that Ansible itself could not reach a host."""
        self._tell_end("unreachable", result)

    def _tell_end(self, event: str, result: Any) -> None:
        said = result._result  # noqa: SLF001 - all that Ansible 2.17 has
        facts = {key: said[key] for key in _TOLD if key in said}
        self._tell(event, result._host, result._task, changed=said.get("changed") is True, **facts)  # noqa: SLF001

    def _tell(self, event: str, host: Any, task: Any, **facts: Any) -> None:
        head = {"event": event, "host": host.get_name(), "task": task.get_name(), "tags": list(task.tags)}
        sys.stdout.write(json.dumps({**head, **facts}, default=str) + "\n")
        sys.stdout.flush()
