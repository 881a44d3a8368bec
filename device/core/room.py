"""The motiongram of a room: what the camera's noise and the light do is left out, what people do is not.

It takes the place of a `Motiongram`. In a steady room whose noise the bundle's threshold takes care of, it gives the
same columns to the bit, for what is learned is what is played; elsewhere it learns, while it plays, what a column would
have been there: see `room_light`, `room_noise` and `room_size`. It starts without knowing anything and needs nobody to
stand still.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from device.core.errors import ConfigError
from device.core.frame import Frame
from device.core.motiongram import Motion, Motiongram, MotionSettings
from device.core.room_light import Light
from device.core.room_noise import NoiseFloor
from device.core.room_profile import RoomProfile, RoomSettings
from device.core.room_size import TYPICAL_SIZE, DancerSize, Zoom

Grey = npt.NDArray[np.uint8]

DANCED_S = 5.0
"""Seconds of motion from which on the dancer's size counts as measured."""


@dataclass(frozen=True)
class RoomState:
    """What a room has been like since the start, for status and for `device calibrate`.

    Attributes
    ----------
    n_frames, n_relit_frames, n_suppressed_frames, n_light_steps : int
        Frames that were compared; those whose light was taken out; those silenced within steps of light; steps.
    n_seconds, n_moving_seconds : int
        Seconds looked at, and those among them in which something moved.
    learned_share, noisy_share : float
        Share of the picture whose own noise is known; share of its pixels whose noise would be heard.
    noise : float
        Median over the pixels of the standard deviation of their difference, in grey levels.
    flicker : float
        Mean change of the light that was taken out, in grey levels, over all frames.
    size : float
        Height of the dancer as a share of the picture's.
    moved_s : float
        Seconds of motion that the size was learned from.
    zoom : float
        How many times larger the dancer is made.
    """

    n_frames: int
    n_relit_frames: int
    n_suppressed_frames: int
    n_light_steps: int
    n_seconds: int
    n_moving_seconds: int
    learned_share: float
    noisy_share: float
    noise: float
    flicker: float
    size: float
    moved_s: float
    zoom: float


class RoomMotiongram(Motiongram):
    """A motiongram that learns the room in which it is.

    Parameters
    ----------
    settings : MotionSettings
        Size, difference time, threshold and filter.
    profile : RoomProfile, optional
        What is known of the room; nothing unless given.
    adapt : RoomSettings
        How it is learned.

    Raises
    ------
    ConfigError
        The profile is for pictures of another size.

    Notes
    -----
    `reset` forgets the frames, never the room. Belongs to one thread; memory is flat.
    """

    def __init__(
        self,
        settings: MotionSettings,
        profile: RoomProfile | None = None,
        adapt: RoomSettings = RoomSettings(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(settings)
        if profile is not None and profile.noise.shape != (settings.height, settings.width):
            height, width = profile.noise.shape
            raise ConfigError(
                f"the room's profile is for pictures of {width} x {height} pixels, not {settings.width} x "
                f"{settings.height}: calibrate the room again"
            )
        self._adapt = adapt
        self._light = Light(settings.difference_time_s)
        noise = None if profile is None else profile.noise
        self._noise = NoiseFloor(settings.height, settings.width, self._threshold, adapt, noise)
        is_measured = profile is not None and profile.has_danced
        self._has_danced = is_measured
        self._size = DancerSize(
            settings.height,
            settings.width,
            adapt.size_s,
            profile.size if profile is not None and is_measured else TYPICAL_SIZE,
        )
        self._zoom = Zoom(settings.height, settings.width)
        self._n_frames = 0
        self._moved_share = 0.0

    @property
    def profile(self) -> RoomProfile:
        """What is known of the room now."""
        has_danced = self._has_danced or self._size.moved_s >= DANCED_S
        size = self._size.size if has_danced else TYPICAL_SIZE
        return RoomProfile(self._noise.noise, self._flicker, size, has_danced)

    @property
    def state(self) -> RoomState:
        """What the room has been like so far."""
        light = self._light.counts
        return RoomState(
            n_frames=self._n_frames,
            n_relit_frames=light.n_relit,
            n_suppressed_frames=light.n_suppressed,
            n_light_steps=light.n_steps,
            n_seconds=self._noise.n_chunks,
            n_moving_seconds=self._noise.n_moving_chunks,
            learned_share=self._noise.learned_share,
            noisy_share=self._noise.noisy_share,
            noise=float(np.median(self._noise.noise)),
            flicker=self._flicker,
            size=self._size.size,
            moved_s=self._size.moved_s,
            zoom=self.zoom,
        )

    @property
    def zoom(self) -> float:
        """How many times larger the dancer is made."""
        return self._adapt.zoom or self._size.zoom

    @property
    def _flicker(self) -> float:
        return min(255.0, self._light.counts.shift_sum / max(1, self._n_frames))

    def _compare(self, frame: Frame, earlier: Grey, scale: float) -> Motion:
        self._n_frames += 1
        lit, is_step = self._light.follow(
            frame.grey, earlier, frame.time_s, self._noise.threshold, self._noise.row_noise, self._moved_share
        )
        if is_step:
            return self._still(frame.time_s)
        is_due = self._adapt.adapt and self._noise.is_due(frame.time_s)
        motion = super()._compare(frame, lit, scale)
        self._moved_share = motion.area
        if is_due:
            self._noise.look(np.subtract(frame.grey, lit, dtype=np.int16), frame.time_s)
            # Noise is as tall as the picture, until it is known.
            if self._noise.is_moving and self._noise.learned_share > 0.0:
                self._size.look(motion.column, frame.time_s)
        return self._as_if_near(motion)

    def _filtered(self, grey: Grey, earlier: Grey) -> Grey:
        moved = super()._filtered(grey, earlier)
        if self._noise.is_noisy:
            moved *= self._noise.is_motion(np.subtract(grey, earlier, dtype=np.int16))
        return moved

    def _as_if_near(self, motion: Motion) -> Motion:
        zoom = self.zoom
        if zoom == 1.0 or motion.quantity == 0.0:
            return motion
        column = self._zoom.apply(motion.column, zoom, self._size.centre_px)
        return replace(motion, column=column, quantity=float(column[: self.settings.height].mean()))
