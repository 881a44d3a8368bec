"""From videos of dances to an instrument: what it must show, on filmed salsa with a sound that follows the body."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import soundfile

from tests.filmed_salsa import RATE_HZ, STILL_S, VIEWS, make_dance_video
from tests.road import Road, command, last_object
from trainer.film import SALSA
from trainer.metrics import level_dbfs

pytestmark = [pytest.mark.timeout(1200), pytest.mark.xdist_group("road")]

LARGEST_BUNDLE = 2_000_000
LONGEST_TRAINING_S = 300


def test_preset_quick_trains_within_five_minutes(road: Road) -> None:
    assert road.training_s <= LONGEST_TRAINING_S


@pytest.mark.parametrize("variant", ["f16", "int8"])
def test_sound_follows_held_out_dances(road: Road, variant: str) -> None:
    played = road.figures[variant]
    assert played["loudness_rank_correlation"] >= 0.95
    assert played["pitch_within_semitone"] >= 0.88
    assert played["brightness_rank_correlation"] >= 0.85
    assert played["band_rank_correlation"] >= 0.82
    assert abs(played["excess_above_8k_db"]) <= 2.5
    assert 0.85 <= played["liveliness"] <= 1.15
    assert played["lag_ms"] <= 45
    assert played["still_level_dbfs"] <= -60


def test_the_figures_are_no_gift(road: Road) -> None:
    """The sound of another dance is far from them, and true spectra through the synth are near to perfect."""
    null, ceiling = road.figures["null"], road.figures["ceiling"]
    for figure in ("loudness_rank_correlation", "brightness_rank_correlation", "band_rank_correlation"):
        assert null[figure] < 0.6
        assert ceiling[figure] > 0.95
    assert null["pitch_within_semitone"] < 0.5 < 0.95 < ceiling["pitch_within_semitone"]


def test_the_bundle_is_small_and_knows_its_figures(road: Road) -> None:
    assert sum(path.stat().st_size for path in road.bundle.iterdir()) <= LARGEST_BUNDLE
    figures = json.loads((road.bundle / "manifest.json").read_text())["figures"]
    for variant in ("f16", "int8"):
        assert figures[variant]["loudness_rank_correlation"] > 0.9


def perform(bundle: Path, video: Path, wav: Path, *options: object) -> dict[str, object]:
    output = command(
        "device", "perform", "--model", bundle, "--camera", f"file:{video}", "--audio", f"wav:{wav}", "--json", *options
    )
    summary: dict[str, object] = last_object(output)
    return summary


def test_a_dance_is_played_the_same_twice(road: Road, tmp_path: Path) -> None:
    video = road.videos[road.held_out_takes[0] - 1]
    first, second = tmp_path / "1.wav", tmp_path / "2.wav"
    for wav in (first, second):
        perform(road.bundle, video, wav, "--temperature", "1", "--seed", "3")
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_segment_mode_plays_the_same_bundle(road: Road, tmp_path: Path) -> None:
    wav = tmp_path / "segment.wav"
    perform(road.bundle, road.videos[0], wav, "--mode", "segment")
    sound, _ = soundfile.read(wav)
    assert level_dbfs(sound) > -40


def test_the_same_dance_sounds_as_loud_at_any_frame_rate(road: Road, tmp_path: Path) -> None:
    recording = SALSA / "60_05.npz"
    levels_db = []
    for fps in (25, 50, 60, 120):
        video = make_dance_video(tmp_path / f"{fps}.mp4", recording, VIEWS[0], 12.0, fps, None)
        wav = tmp_path / f"{fps}.wav"
        perform(road.bundle, video, wav)
        sound, rate_hz = soundfile.read(wav)
        assert rate_hz == RATE_HZ
        levels_db.append(level_dbfs(sound[int(STILL_S * rate_hz) : 12 * rate_hz]))
    assert max(levels_db) - min(levels_db) <= 1.0, levels_db
