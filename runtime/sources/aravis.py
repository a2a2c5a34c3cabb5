"""A GigE Vision or USB3 Vision camera through Aravis, without any vendor's software.

The library is called through ctypes: it is a package of the system, and its Python binding is none of pip's.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..errors import ConfigError, SourceFormat, SourceLost
from .clock import Clock
from .genicam import Feature, on_off, with_size
from .live import Grab, LiveConfig, LiveSource
from .pixels import PFNC_CODES, to_pixels

GRAB_WAIT_US = 100_000
BUFFERS = 8
"""Of the stream: one is being filled while we copy another."""


class AravisConfig(LiveConfig, frozen=True, kw_only=True, tag_field="kind", tag="aravis"):
    """A camera that Aravis finds."""

    device: str | None = None
    """Its name as `arv-tool-0.8` lists it, or its address; absent: the first."""
    features: dict[str, Feature] = msgspec.field(default_factory=dict)
    """GenICam features to set, in this order; with TriggerSource: Software every trigger is passed on."""


class AravisSource(LiveSource):
    """The newest frame of a camera that Aravis finds."""

    def __init__(self, config: AravisConfig, base: Path = Path(), clock: Clock | None = None) -> None:
        """As `LiveSource`; `base` is not used.

        Raises:
            ConfigError: Aravis is not installed.
        """
        library()
        where = f"aravis {config.device or 'camera'}"
        super().__init__(where, config, lambda: AravisDevice(where, config), clock)


class _GError(ctypes.Structure):
    _fields_ = (("domain", c_uint), ("code", c_int), ("message", c_char_p))


FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "camera_new": (c_void_p, (c_char_p,)),
    "camera_get_device": (c_void_p, (c_void_p,)),
    "camera_get_payload": (c_uint, (c_void_p,)),
    "camera_create_stream": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "camera_start_acquisition": (None, (c_void_p,)),
    "camera_stop_acquisition": (None, (c_void_p,)),
    "camera_software_trigger": (None, (c_void_p,)),
    "device_set_features_from_string": (c_int, (c_void_p, c_char_p)),
}
"""Function -> result and arguments; each takes a place for its error at the end."""
PLAIN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "buffer_new_allocate": (c_void_p, (c_size_t,)),
    "stream_push_buffer": (None, (c_void_p, c_void_p)),
    "stream_timeout_pop_buffer": (c_void_p, (c_void_p, c_uint64)),
    "buffer_get_status": (c_int, (c_void_p,)),
    "buffer_get_data": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "buffer_get_frame_id": (c_uint64, (c_void_p,)),
    "buffer_get_timestamp": (c_uint64, (c_void_p,)),
    "buffer_get_image_width": (c_int, (c_void_p,)),
    "buffer_get_image_height": (c_int, (c_void_p,)),
    "buffer_get_image_pixel_format": (c_uint, (c_void_p,)),
}
"""The same, without an error. Source: Aravis 0.8 reference manual."""


class Library:
    """libaravis, its functions by name without `arv_`; those of FUNCTIONS raise SourceLost."""

    def __init__(self, path: str) -> None:
        self._lib = ctypes.CDLL(path)
        self._objects = ctypes.CDLL("libgobject-2.0.so.0")
        self._objects.g_object_unref.argtypes = [c_void_p]
        for name, (result, arguments) in {**FUNCTIONS, **PLAIN}.items():
            function = getattr(self._lib, f"arv_{name}")
            function.restype = result
            function.argtypes = [*arguments, *([POINTER(POINTER(_GError))] if name in FUNCTIONS else [])]

    def call(self, name: str, *arguments: Any) -> Any:
        """Calls a function; raises SourceLost with the library's own words."""
        function = getattr(self._lib, f"arv_{name}")
        if name in PLAIN:
            return function(*arguments)
        error = POINTER(_GError)()
        result = function(*arguments, byref(error))
        if error:
            raise SourceLost(error.contents.message.decode("utf-8", "replace"))
        return result

    def free(self, thing: int | None) -> None:
        """Gives an object of the library back."""
        if thing:
            self._objects.g_object_unref(thing)


@lru_cache
def library() -> Library:
    """Aravis.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return Library(ctypes.util.find_library("aravis-0.8") or "libaravis-0.8.so.0")
    except OSError:
        raise ConfigError(
            "source: kind aravis needs libaravis 0.8: apt-get install libaravis-0.8-0"
        ) from None


class AravisDevice:
    """An open camera; see `Device`."""

    monotonic = False
    piles_up = False

    def __init__(self, where: str, config: AravisConfig) -> None:
        """Opens and configures the camera, and starts it."""
        self._where, self._lib = where, library()
        self._camera = self._stream = None
        features = {name: on_off(value) for name, value in with_size(config).items()}
        self._triggered = features.get("TriggerSource") == "Software"
        try:
            name = None if config.device is None else config.device.encode()
            self._camera = self._call("camera_new", name)
            device = self._lib.call("camera_get_device", self._camera)
            for feature, value in features.items():
                self._set(device, f"{feature}={value}")
            self._start()
        except Exception:
            self.close()
            raise

    def grab(self) -> Grab | None:
        """As in `Device`."""
        buffer = self._lib.call("stream_timeout_pop_buffer", self._stream, GRAB_WAIT_US)
        if not buffer:
            return None
        try:
            return self._read(buffer)
        finally:
            self._lib.call("stream_push_buffer", self._stream, buffer)

    def trigger(self) -> None:
        """As in `Device`."""
        if self._triggered:
            self._call("camera_software_trigger", self._camera)

    def close(self) -> None:
        """As in `Device`. A camera that is gone cannot be stopped; its objects are freed all the same."""
        if self._stream:
            with contextlib.suppress(SourceLost):
                self._call("camera_stop_acquisition", self._camera)
        self._lib.free(self._stream)
        self._lib.free(self._camera)
        self._camera = self._stream = None

    def _start(self) -> None:
        payload = self._call("camera_get_payload", self._camera)
        self._stream = self._call("camera_create_stream", self._camera, None, None)
        for _ in range(BUFFERS):
            self._lib.call("stream_push_buffer", self._stream, self._lib.call("buffer_new_allocate", payload))
        self._call("camera_start_acquisition", self._camera)

    def _read(self, buffer: int) -> Grab:
        ask = self._lib.call
        number = ask("buffer_get_frame_id", buffer)
        stamp_us = ask("buffer_get_timestamp", buffer) // 1000 or None
        if ask("buffer_get_status", buffer) != 0:
            return Grab(None, number, stamp_us)
        size = c_size_t()
        data = ask("buffer_get_data", buffer, byref(size))
        code = ask("buffer_get_image_pixel_format", buffer)
        name = PFNC_CODES.get(code)
        if name is None:
            raise SourceFormat(
                f"{self._where}: pixel format 0x{code:08x}; expected Mono8 or BGR8, set one of them"
            )
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(data))
        height, width = ask("buffer_get_image_height", buffer), ask("buffer_get_image_width", buffer)
        # The buffer goes back to the stream before anybody looks at the pixels.
        return Grab(to_pixels(self._where, name, raw, height, width).copy(), number, stamp_us)

    def _set(self, device: int, feature: str) -> None:
        try:
            self._lib.call("device_set_features_from_string", device, feature.encode())
        except SourceLost as error:
            raise ConfigError(f"{self._where}: feature {feature}: {error}") from None

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return self._lib.call(name, *arguments)
        except SourceLost as error:
            raise SourceLost(f"{self._where}: {error}") from None
