"""The boxes that an inventory names, as ssh knows them: each host's address is worked out by Ansible, in boxes.yml."""

from __future__ import annotations

import argparse

from deploy.errors import BoxError
from deploy.fleet.ansible import FAILED, OK, START, UNREACHABLE, Event, play
from deploy.ssh import check_box, readable
from device.core.errors import UsageError


def read_boxes(args: argparse.Namespace) -> dict[str, str]:
    """Give each host of an inventory, and the box that it stands for, as `deploy status` takes it.

    Parameters
    ----------
    args : argparse.Namespace
        With the options of `deploy.fleet.ansible.add_arguments`.

    Raises
    ------
    UsageError
        It names no host, one that is no name of a host, or one box twice.
    BoxError
        Ansible cannot read it.
    """
    boxes: dict[str, str] = {}
    failed: list[Event] = []

    def tell(event: Event) -> None:
        if event.kind == START:
            boxes.setdefault(event.host, "")  # in the inventory's order
        elif event.kind == OK:
            boxes[event.host] = event.msg
        elif event.kind in (FAILED, UNREACHABLE):
            failed.append(event)

    play("boxes.yml", args, {}, tell)
    if failed:
        raise BoxError(f"{args.inventory}: {readable(failed[0].host)}: {failed[0].why}: mend its line")
    if not boxes:
        raise UsageError(f"{args.inventory} names no boxes: write their hosts into it, a line each")
    check_boxes(args.inventory, boxes)
    return boxes


def check_boxes(inventory: str, boxes: dict[str, str]) -> None:
    """Raise UsageError unless each host of an inventory stands for a box of its own that ssh can take for one."""
    hosts: dict[str, str] = {}
    for host, box in boxes.items():
        try:
            check_box(box)
        except UsageError as error:
            raise UsageError(f"{inventory}: {readable(host)}: {error}") from error
        if box in hosts:
            raise UsageError(f"{inventory}: {readable(hosts[box])} and {readable(host)} are one box: leave one out")
        hosts[box] = host
