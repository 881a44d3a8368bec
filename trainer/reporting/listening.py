"""The section to look at and to listen to: motion, and beneath it every voice that played it, on one time axis."""

from __future__ import annotations

import numpy as np

from trainer.data.prepare import describe
from trainer.reporting.content import Content, Float32
from trainer.reporting.markup import Html, data_uri, join, tag
from trainer.reporting.pictures import frequency_marks, motion_picture, sound_levels_db, sound_picture
from trainer.reporting.scenes import Scene, Track
from trainer.reporting.words import clock

LEAST_TOP_DB = -60.0
"""Level of the darkest shade at least: near silence stays white."""


def listening(content: Content) -> Html:
    """All scenes."""
    drawn = f"{content.temperature:g}, drawn" if content.temperature else "0: the mean, nothing is drawn"
    lead = (
        "Held-out dances: no model here was trained on them. Above, the motion as the camera saw it; below, on the "
        "same time axis, what was recorded with it and what was played to it. Start a second player while one plays, "
        f"and it goes on at the same moment; click into a picture to go there. Played at temperature {drawn}."
    )
    scenes = [_scene(scene, number) for number, scene in enumerate(content.scenes, 1)]
    return tag("section", tag("h2", "Look and listen"), tag("p", lead, class_="lead"), *scenes, id="listen")


def _scene(scene: Scene, number: int) -> Html:
    name = describe(scene.span.take)["name"]
    end_s = scene.start_s + scene.duration_s
    heading = tag("h3", tag("span", f"{number}", class_="number"), join(" ", name))
    where = tag("p", f"take {scene.span.take.number:04d}, {clock(scene.start_s)} to {clock(end_s)}: its stretch with "
                "the most motion", class_="where")  # fmt: skip
    levels = [sound_levels_db(track.sound, scene.span.take.rate_hz) for track in scene.tracks]
    top_db = max(float(levels[0].max()), LEAST_TOP_DB)
    tracks = [_track(scene, track, level, top_db) for track, level in zip(scene.tracks, levels, strict=True)]
    content = (tag("header", heading, where), _motion(scene), *tracks, _time_axis(scene.duration_s))
    return tag("article", *content, class_="scene", aria_label=f"Scene {number}")


def _motion(scene: Scene) -> Html:
    span = scene.span
    picture = motion_picture(span.take.columns_at(span.start, span.stop), span.times_s, span.take.settings.height)
    alt = (
        "Motiongram: where in the height of the picture there was motion, over "
        f"{scene.duration_s:.0f} seconds; dark where there was much."
    )
    marks = [("top", 0.93), ("bottom", 0.07)]
    row = tag("div", tag("p", tag("strong", "Motion"), " as the camera saw it", class_="name"), class_="bar-above")
    return tag("div", row, _plot(picture, alt, marks), class_="motion row")


def _track(scene: Scene, track: Track, level_db: Float32, top_db: float) -> Html:
    rate_hz = scene.span.take.rate_hz
    voice = track.voice
    name = tag("p", tag("strong", voice.name), f" {voice.note}", class_="name")
    player = tag(
        "audio", controls=True, preload="metadata", src=data_uri("audio/flac", track.flac),
        aria_label=f"{voice.name}, {scene.duration_s:.0f} seconds",
    )  # fmt: skip
    alt = f"Spectrogram of {voice.name}: {_described(track, level_db, top_db)}"
    plot = _plot(sound_picture(level_db, top_db), alt, frequency_marks(rate_hz))
    return tag("div", tag("div", name, player, class_="bar-above"), plot, class_=f"track row {voice.kind}")


def _described(track: Track, level_db: Float32, top_db: float) -> str:
    """Say in words what a picture shows, as far as numbers can."""
    if not np.any(track.sound):
        return "silence."
    peak = float(np.abs(track.sound).max())
    heard = float((level_db.max(axis=0) > top_db - 40.0).mean())
    return f"sounding {heard:.0%} of the time, peak {20 * np.log10(peak):.0f} dB below full scale."


def _plot(picture: bytes, alt: str, marks: list[tuple[str, float]]) -> Html:
    """A picture with labels beside it and a head that moves over it."""
    labels = [
        tag("span", label, style=f"bottom: {100 * place:.1f}%", class_="mark", aria_hidden="true")
        for label, place in marks
    ]
    image = tag("img", src=data_uri("image/png", picture), alt=alt)
    head = tag("span", class_="head", hidden=True, aria_hidden="true")
    return tag("div", tag("div", *labels, class_="marks"), tag("div", image, head, class_="plot"), class_="axes")


def _time_axis(duration_s: float) -> Html:
    step_s = next((step for step in (1, 2, 5, 10, 20) if duration_s / step <= 6), 60)
    ticks = [
        tag("span", f"{at_s:.0f} s", style=f"left: {100 * at_s / duration_s:.2f}%")
        for at_s in np.arange(0.0, duration_s * 0.92, step_s)
    ]
    return tag("div", tag("div", *ticks, class_="ticks"), class_="axes time", aria_hidden="true")
