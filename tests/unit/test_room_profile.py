"""The profile of a room: what was stored comes back, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from device.config import load_config
from device.core.errors import ConfigError
from device.core.room_profile import MAX_PROFILE_BYTES, RoomProfile, RoomSettings
from device.store.rooms import load_room, room_path, room_settings, save_room


def profile() -> RoomProfile:
    noise = np.random.default_rng(0).uniform(0, 30, (48, 64)).astype(np.float32)
    return RoomProfile(noise, flicker=3.25, size=0.41, has_danced=True)


def with_changes(**changes: object) -> bytes:
    document = json.loads(profile().to_json())
    return json.dumps({**document, **changes}).encode()


def test_a_profile_comes_back_as_it_was() -> None:
    again = RoomProfile.from_json(profile().to_json())
    np.testing.assert_allclose(again.noise, profile().noise, atol=0.051)
    assert again.noise.dtype == np.float32
    assert (again.flicker, again.size, again.has_danced) == (3.25, 0.41, True)
    assert again.to_json() == profile().to_json()


def test_noise_beyond_all_measure_is_stored_as_the_most_there_is() -> None:
    wild = RoomProfile(np.full((2, 3), 1e9, np.float32), 0.0, 0.7, False)
    assert RoomProfile.from_json(wild.to_json()).noise.max() == 100.0


HOSTILE = {
    "empty": b"",
    "no json": b"{",
    "bytes": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"3",
    "another document": b'{"format": "dance-sampler take"}',
    "deep": b"[" * 100_000,
    "twice": profile().to_json().replace(b'"size": 0.41', b'"size": 0.41, "size": 0.42'),
    "too long": b" " * (MAX_PROFILE_BYTES + 1),
    "newer": with_changes(format_version=2),
    "version true": with_changes(format_version=True),
    "unknown key": with_changes(colour=1),
    "missing key": json.dumps({"format": "dance-sampler room", "format_version": 1}).encode(),
    "nan": with_changes(flicker=float("nan")),
    "infinite": with_changes(size=float("inf")),
    "negative": with_changes(flicker=-1),
    "too tall": with_changes(size=2.5),
    "text": with_changes(size="0.5"),
    "true size": with_changes(size=True),
    "number for true": with_changes(has_danced=1),
    "no rows": with_changes(noise_in_tenths=[]),
    "empty rows": with_changes(noise_in_tenths=[[]]),
    "ragged": with_changes(noise_in_tenths=[[1, 2], [3]]),
    "fractions": with_changes(noise_in_tenths=[[1.5]]),
    "below zero": with_changes(noise_in_tenths=[[-1]]),
    "huge": with_changes(noise_in_tenths=[[10**30]]),
    "flat": with_changes(noise_in_tenths=[1, 2]),
    "wide": with_changes(noise_in_tenths=[[0] * 5000]),
    "nothing": with_changes(noise_in_tenths=None),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_profile_is_refused_in_one_line_that_says_what_to_do(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        RoomProfile.from_json(data)
    said = str(caught.value)
    assert said.endswith("calibrate the room again")
    assert "\n" not in said
    assert len(said) < 250


def test_a_profile_cut_short_anywhere_is_refused() -> None:
    data = profile().to_json().rstrip()
    for length in range(0, len(data), 97):
        with pytest.raises(ConfigError):
            RoomProfile.from_json(data[:length])


def test_it_is_stored_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "room.json"
    assert load_room(path) is None
    save_room(path, profile())
    again = load_room(path)
    assert again is not None
    assert again.to_json() == profile().to_json()
    assert [each.name for each in path.parent.iterdir()] == ["room.json"]


def test_a_place_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match=r"file/room\.json cannot be written .*choose a folder"):
        save_room(tmp_path / "file" / "room.json", profile())
    with pytest.raises(ConfigError, match="cannot be read"):
        load_room(tmp_path)
    (tmp_path / "room.json").write_bytes(b"[]")
    with pytest.raises(ConfigError, match=r"room\.json: this is not the profile of a room: calibrate"):
        load_room(tmp_path / "room.json")


def test_a_full_disk_leaves_the_profile_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "room.json"
    save_room(path, profile())
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("device.store.files.os.fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        save_room(path, RoomProfile(np.zeros((48, 64), np.float32), 0.0, 0.7, False))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["room.json"]


def test_where_the_profile_lies(tmp_path: Path) -> None:
    defaults = load_config(system_path=tmp_path / "absent.toml").room
    assert room_path(defaults, state=tmp_path / "absent") is None
    assert room_path(defaults, state=tmp_path) == tmp_path / "room.json"
    (tmp_path / "mine.toml").write_text('[room]\nprofile = "/srv/stage.json"\nquiet_s = 8\nzoom = 1\nadapt = false\n')
    mine = load_config(tmp_path / "mine.toml", system_path=tmp_path / "absent.toml").room
    assert room_path(mine, state=tmp_path) == Path("/srv/stage.json")
    assert room_settings(mine) == RoomSettings(adapt=False, quiet_s=8.0, zoom=1.0)


def test_the_defaults_of_configuration_and_core_agree(tmp_path: Path) -> None:
    assert room_settings(load_config(system_path=tmp_path / "absent.toml").room) == RoomSettings()


@pytest.mark.parametrize("name", ["quiet_s", "learn_s", "size_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_times_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"room.{name} = "):
        RoomSettings(**{name: value})  # type: ignore[arg-type] # times only
