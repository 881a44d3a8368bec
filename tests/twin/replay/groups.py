"""What the crash replay tries: what the box does, how many cuts of it, and the bugs that it must see."""

from __future__ import annotations

from dataclasses import dataclass

from tests.twin.replay.bugs import BUGS
from tests.twin.results import Check

LAYER = "replay"
_STORE = (
    "the store's own operations on a real ext4 whose every write and flush is logged; from the log a disk for each "
    "cut, with what it had not flushed kept, lost or torn; then e2fsck, mount, and the box's start"
)
_BOX = (
    "the same, of the whole running box: its button is pressed, a model is pushed, tried and taken back, while it "
    "plays and records; a machine that is busy may be 1.5 s late besides"
)
_PLANT = "no sync of files; none of folders; a rename before the sync; an answer before the sync: each alone"


@dataclass(frozen=True)
class Group:
    """What is looked at together.

    Attributes
    ----------
    check : Check
    doings : dict of str to int
        What the box does, and how many cuts of it are tried.
    bugs : dict of str to str
        Bugs that must be seen, and what the box does then.
    """

    check: Check
    doings: dict[str, int]
    bugs: dict[str, str]


CAN_TELL = Check(
    "replay-can-tell",
    "(the replay itself) a writer that never syncs is seen to lose its files, and to have them empty, old and torn",
    "the same replay of a writer without fsync beside one that syncs",
    LAYER,
    "the disk is looked at only when all was written",
)
TAKES = Check(
    "replay-takes",
    "a finished take is whole after a power cut; of one that is being recorded at most its last second is lost",
    _STORE,
    LAYER,
    _PLANT,
)
MODELS = Check(
    "replay-models",
    "after a power cut the model that was installed, switched to or rolled back to plays, or the one before it",
    _STORE,
    LAYER,
    _PLANT,
)
DEPLOYMENTS = Check(
    "replay-deployments",
    "a deployment that was acknowledged is active after a power cut, or the model before it, whole; an upload goes on "
    "where it was acknowledged",
    _STORE,
    LAYER,
    _PLANT,
)
SMALL_FILES = Check(
    "replay-small-files",
    "what the box learned of the room, and how often it failed to start, outlive a power cut",
    _STORE,
    LAYER,
    "no sync of files; none of folders; an answer before the sync: each alone",
)
BOX = Check(
    "replay-box",
    "the plug may be pulled at any time: takes that were saved, the model that stays or is back, and all but the last "
    "second of what is being recorded are there",
    _BOX,
    LAYER,
    "in all of its processes no sync of files; none of folders: each alone",
)
GROUPS = (
    Group(
        TAKES,
        {"dances_long": 200, "records": 150, "records_where_takes_were_deleted": 80, "salvages": 40, "abandons": 80},
        dict.fromkeys(BUGS, "records"),
    ),
    Group(MODELS, {"installs": 150, "tries_models": 120}, dict.fromkeys(BUGS, "installs")),
    Group(DEPLOYMENTS, {"deploys": 150}, dict.fromkeys(BUGS, "deploys")),
    Group(
        SMALL_FILES,
        {"learns_the_room": 60, "starts_again_and_again": 60},
        # ext4 itself mends a rename before the sync where an old file is replaced.
        {bug: "starts_again_and_again" for bug in BUGS if bug != "renamed-first"},
    ),
    Group(BOX, {"plays": 250}, dict.fromkeys(("files-not-synced", "folders-not-synced"), "plays")),
)
