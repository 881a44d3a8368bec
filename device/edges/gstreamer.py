"""As much of GStreamer as is needed to take pictures from a pipeline, through its C libraries.

Its own Python binding comes from the system or is compiled against the system's libraries, neither of which a virtual
environment can count on. These functions, and the layout of a buffer, are the same in every GStreamer 1.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p

import numpy as np
import numpy.typing as npt

from device.core.errors import CameraError

Grey = npt.NDArray[np.uint8]

NULL, PLAYING = 1, 4
"""States of GstState."""
FAILURE = 0
MESSAGE_ERROR = 1 << 1
FORMAT_TIME = 3
NO_TIME = 2**64 - 1
PACKAGES = "libgstreamer1.0-0 libgstreamer-plugins-base1.0-0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good"


class _MiniObject(Structure):
    _fields_ = (
        ("type", c_size_t),
        ("refcount", c_int),
        ("lockstate", c_int),
        ("flags", c_uint),
        ("copy", c_void_p),
        ("dispose", c_void_p),
        ("free", c_void_p),
        ("priv_uint", c_uint),
        ("priv_pointer", c_void_p),
    )


class _Buffer(Structure):
    _fields_ = (("mini_object", _MiniObject), ("pool", c_void_p), ("pts", c_uint64))


class _Error(Structure):
    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


_FUNCTIONS: dict[str, tuple[object, ...]] = {  # the result, then the arguments
    "gst_init_check": (c_int, c_void_p, c_void_p, c_void_p),
    "gst_parse_launch": (c_void_p, c_char_p, POINTER(POINTER(_Error))),
    "gst_bin_get_by_name": (c_void_p, c_void_p, c_char_p),
    "gst_element_set_state": (c_int, c_void_p, c_int),
    "gst_element_get_base_time": (c_uint64, c_void_p),
    "gst_element_get_clock": (c_void_p, c_void_p),
    "gst_element_get_bus": (c_void_p, c_void_p),
    "gst_clock_get_time": (c_uint64, c_void_p),
    "gst_bus_pop_filtered": (c_void_p, c_void_p, c_int),
    "gst_message_parse_error": (None, c_void_p, POINTER(POINTER(_Error)), c_void_p),
    "gst_sample_get_buffer": (c_void_p, c_void_p),
    "gst_sample_get_segment": (c_void_p, c_void_p),
    "gst_segment_to_running_time": (c_uint64, c_void_p, c_int, c_uint64),
    "gst_buffer_extract": (c_size_t, c_void_p, c_size_t, c_void_p, c_size_t),
    "gst_mini_object_unref": (None, c_void_p),
    "gst_object_unref": (None, c_void_p),
}
_APP_FUNCTIONS: dict[str, tuple[object, ...]] = {
    "gst_app_sink_try_pull_sample": (c_void_p, c_void_p, c_uint64),
    "gst_app_sink_is_eos": (c_int, c_void_p),
}


def _load() -> dict[str, ctypes._NamedFuncPointer]:
    """Find the libraries and start them.

    Raises
    ------
    CameraError
        They are not there.
    """
    try:
        core, app = ctypes.CDLL("libgstreamer-1.0.so.0"), ctypes.CDLL("libgstapp-1.0.so.0")
    except OSError as error:
        raise CameraError(f"GStreamer is not installed: sudo apt-get install {PACKAGES}") from error
    functions = {}
    for library, known in ((core, _FUNCTIONS), (app, _APP_FUNCTIONS)):
        for name, (result, *arguments) in known.items():
            function = library[name]
            function.restype, function.argtypes = result, arguments  # type: ignore[assignment] # as the table says
            functions[name] = function
    if not functions["gst_init_check"](None, None, None):
        raise CameraError("GStreamer does not start: install it again")
    return functions


class Pipeline:
    """A pipeline that ends in an appsink. One thread calls it.

    Parameters
    ----------
    description : str
        As gst-launch-1.0 takes it.
    sink : str
        Name of the appsink in it.

    Raises
    ------
    CameraError
        GStreamer is not there, or does not understand the description.
    """

    def __init__(self, description: str, sink: str) -> None:
        self._call = _load()
        error = POINTER(_Error)()
        self._pipeline = self._call["gst_parse_launch"](description.encode(), byref(error))
        # Even then it may give something back: all but what it could not read.
        if error or not self._pipeline:
            raise CameraError(
                f"GStreamer cannot make this camera's pipeline ({_text(error)}): mend it, or install more"
            )
        self._sink = self._call["gst_bin_get_by_name"](self._pipeline, sink.encode())
        self._bus = self._call["gst_element_get_bus"](self._pipeline)
        self._clock: int | None = None

    def play(self) -> bool:
        """Start it; tell whether it is about to play."""
        return bool(self._call["gst_element_set_state"](self._pipeline, PLAYING) != FAILURE)

    def stop(self) -> None:
        """Stop it and let all of it go; nothing else may be called after."""
        self._call["gst_element_set_state"](self._pipeline, NULL)
        for what in (self._bus, self._clock, self._sink, self._pipeline):
            if what:
                self._call["gst_object_unref"](what)

    def trouble(self) -> str | None:
        """Give the next of what the pipeline complains of, if it does."""
        message = self._call["gst_bus_pop_filtered"](self._bus, MESSAGE_ERROR)
        if not message:
            return None
        error = POINTER(_Error)()
        self._call["gst_message_parse_error"](message, byref(error), None)
        self._call["gst_mini_object_unref"](message)
        return _text(error)

    @property
    def is_over(self) -> bool:
        """Whether the pipeline's source has come to its end."""
        return bool(self._call["gst_app_sink_is_eos"](self._sink))

    def pull(self, timeout_s: float, out: Grey) -> float | None:
        """Wait for the next picture and copy it.

        Parameters
        ----------
        timeout_s : float
        out : np.ndarray, C-contiguous, uint8
            Filled with the picture's bytes, row padding and all.

        Returns
        -------
        float or None
            How old the picture is, in seconds; None if there was none in this time.
        """
        sample = self._call["gst_app_sink_try_pull_sample"](self._sink, round(1e9 * timeout_s))
        if not sample:
            return None
        try:
            buffer = self._call["gst_sample_get_buffer"](sample)
            n_copied = self._call["gst_buffer_extract"](buffer, 0, out.ctypes.data, out.nbytes)
            if n_copied < out.nbytes:
                raise CameraError(f"GStreamer gave a picture of {n_copied} bytes, not {out.nbytes}: mend its pipeline")
            return self._age_s(_Buffer.from_address(buffer).pts, self._call["gst_sample_get_segment"](sample))
        finally:
            self._call["gst_mini_object_unref"](sample)

    def _age_s(self, pts: int, segment: int) -> float:
        """How long ago a picture was taken, by the pipeline's own clock, whatever clock that is."""
        self._clock = self._clock or self._call["gst_element_get_clock"](self._pipeline)
        running = self._call["gst_segment_to_running_time"](segment, FORMAT_TIME, pts)
        if running == NO_TIME or pts == NO_TIME or not self._clock:
            return 0.0
        base = self._call["gst_element_get_base_time"](self._pipeline)
        now = self._call["gst_clock_get_time"](self._clock)
        return max(0.0, 1e-9 * float(now - base - running))


def _text(error: ctypes._Pointer[_Error]) -> str:
    """Give the words of an error in one line. It is a few bytes that are not given back: what failed is given up."""
    return " ".join(error.contents.message.decode(errors="replace").split()).rstrip(".") if error else "no reason given"
