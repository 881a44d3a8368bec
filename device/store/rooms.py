"""What is known of the room, on disk: read strictly, written so that a pulled plug leaves the old or the new."""

from __future__ import annotations

from pathlib import Path

from device.config import RoomConfig
from device.core.errors import ConfigError
from device.core.room_profile import MAX_PROFILE_BYTES, RoomProfile, RoomSettings
from device.store.files import explained, make_folders, replace_synced

FILE = "room.json"


def room_path(config: RoomConfig, state: Path) -> Path | None:
    """Where the room's profile lies, or would: as configured, else with the box's state; None where there is neither.

    Parameters
    ----------
    config : RoomConfig
    state : Path
        The folder of the box's state, which other machines lack.
    """
    if config.profile:
        return Path(config.profile)
    return state / FILE if state.is_dir() else None


def room_settings(config: RoomConfig) -> RoomSettings:
    """How a room is to be learned, by the configuration."""
    return RoomSettings(
        adapt=config.adapt, quiet_s=config.quiet_s, learn_s=config.learn_s, zoom=config.zoom, size_s=config.size_s
    )


def load_room(path: Path) -> RoomProfile | None:
    """Read the profile of a room; None if there is none yet: the box plays without one.

    Raises
    ------
    ConfigError
        It cannot be read, or is no profile: one line that says what to do.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): give access, or name another file") from error
    try:
        return RoomProfile.from_json(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def save_room(path: Path, profile: RoomProfile) -> None:
    """Write the profile of a room; its folder is made if missing.

    Raises
    ------
    ConfigError
        It cannot be written; what was there before is kept.
    """
    with explained(path, ConfigError):
        make_folders(path.parent)
        replace_synced(path, profile.to_json())
