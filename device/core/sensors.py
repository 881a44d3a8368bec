"""What the sensors of Raspberry Pi's cameras can do, so that each shows the widest view at the rate that is wanted.

Source: Raspberry Pi's documentation of its camera modules. The camera stack tells it too, but only by setting up each
mode in turn, which uses up memory that a camera needs.
"""

from __future__ import annotations

from dataclasses import dataclass

RATE_TOLERANCE = 0.92
"""A view of the whole room is worth some frames: 56 fps rather than 60."""


@dataclass(frozen=True)
class SensorMode:
    """One way in which a sensor can be read.

    Attributes
    ----------
    width, height : int
        Of what it gives, in pixels.
    fps : float
        Highest rate.
    view : float
        Share of the sensor's width that is seen.
    bits : int
        Of each pixel.
    """

    width: int
    height: int
    fps: float
    view: float
    bits: int = 10


SENSORS: dict[str, tuple[SensorMode, ...]] = {
    "ov5647": (SensorMode(640, 480, 58.9, 1.0), SensorMode(1296, 972, 46.3, 1.0), SensorMode(1920, 1080, 32.8, 0.74)),
    "imx219": (
        SensorMode(640, 480, 206.6, 0.39),
        SensorMode(1640, 1232, 41.9, 1.0),
        SensorMode(1920, 1080, 47.6, 0.59),
    ),
    "imx477": (
        SensorMode(1332, 990, 120.1, 0.66),
        SensorMode(2028, 1080, 50.0, 1.0, 12),
        SensorMode(2028, 1520, 40.0, 1.0, 12),
    ),
    "imx708": (SensorMode(1536, 864, 120.1, 0.67), SensorMode(2304, 1296, 56.0, 1.0)),
    "imx296": (SensorMode(1456, 1088, 60.4, 1.0),),
}


def sensor_mode(model: str, fps: float) -> SensorMode | None:
    """Give the mode that sees most of those that keep the rate, or come nearest to it.

    Parameters
    ----------
    model : str
        As libcamera calls it, such as 'imx708_wide'.
    fps : float

    Returns
    -------
    SensorMode or None
        None for a sensor that is not known here.
    """
    modes = SENSORS.get(model.split("_", maxsplit=1)[0].lower())
    if modes is None:
        return None
    enough = RATE_TOLERANCE * min(fps, max(mode.fps for mode in modes))
    return max((mode for mode in modes if mode.fps >= enough), key=lambda mode: (mode.view, -mode.width * mode.height))
