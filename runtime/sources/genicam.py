"""A GenICam camera through harvesters and its vendor's GenTL producer (a .cti file)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError, SourceLost
from .clock import Clock
from .live import Grab, LiveConfig, LiveSource
from .pixels import to_pixels

GRAB_WAIT_S = 0.1
BUFFERS = 4
"""Of the producer: one is being filled while we copy another."""

Feature = bool | int | float | str


class GenicamConfig(LiveConfig, frozen=True, kw_only=True, tag_field="kind", tag="genicam"):
    """A camera behind a GenTL producer."""

    producer: str
    """The .cti file, relative to the station file."""
    serial: str | None = None
    """Serial number; absent: the first camera."""
    features: dict[str, Feature] = msgspec.field(default_factory=dict)
    """GenICam features to set, in this order, such as ExposureTime; with TriggerSource:
    Software every trigger of the station is passed on."""


class GenicamSource(LiveSource):
    """The newest frame of a GenICam camera."""

    def __init__(self, config: GenicamConfig, base: Path = Path(), clock: Clock | None = None) -> None:
        """As `LiveSource`.

        Raises:
            ConfigError: harvesters is not installed, or there is no such producer.
        """
        try:
            import harvesters.core  # noqa: F401 - found missing here, not in the thread
        except ImportError:
            raise ConfigError("source: kind genicam needs: pip install 'gonogo[genicam]'") from None
        producer = base / config.producer
        if not producer.is_file():
            raise ConfigError(
                f"{producer}: no such file; expected the GenTL producer (.cti) of the camera's vendor"
            )
        where = f"genicam {config.serial or producer.name}"
        super().__init__(where, config, lambda: GenicamDevice(where, producer, config), clock)


class GenicamDevice:
    """An open camera; see `Device`."""

    monotonic = False
    piles_up = False

    def __init__(self, where: str, producer: Path, config: GenicamConfig) -> None:
        """Opens and configures the camera, and starts it."""
        from harvesters.core import Harvester

        self._where = where
        self._harvester: Any = Harvester()
        self._camera: Any = None
        try:
            self._harvester.add_file(str(producer))
            self._harvester.update()
            self._camera = self._create(config.serial)
            self._nodes: Any = self._camera.remote_device.node_map
            features = with_size(config)
            for name, value in features.items():
                self._set(name, value)
            self._triggered = features.get("TriggerSource") == "Software"
            self._camera.num_buffers = BUFFERS
            self._camera.start()
        except Exception:
            self.close()
            raise

    def grab(self) -> Grab | None:
        """As in `Device`."""
        buffer = self._camera.try_fetch(timeout=GRAB_WAIT_S)
        if buffer is None:
            return None
        try:
            module = buffer.module
            number, stamp_ns = _maybe(lambda: module.frame_id), _maybe(lambda: module.timestamp_ns)
            stamp_us = stamp_ns // 1000 if stamp_ns else None
            parts = buffer.payload.components
            if _maybe(lambda: module.is_complete) == 0 or not parts:
                return Grab(None, number, stamp_us)
            part = parts[0]
            pixels = to_pixels(self._where, part.data_format, part.data, part.height, part.width)
            return Grab(pixels.copy(), number, stamp_us)
        finally:
            buffer.queue()

    def trigger(self) -> None:
        """As in `Device`."""
        if self._triggered:
            self._nodes.get_node("TriggerSoftware").execute()

    def close(self) -> None:
        """As in `Device`."""
        if self._camera is not None:
            self._camera.destroy()
        self._harvester.reset()

    def _create(self, serial: str | None) -> Any:
        found = [info.serial_number for info in self._harvester.device_info_list]
        if not found or (serial is not None and serial not in found):
            raise SourceLost(f"{self._where}: not found; the producer sees {', '.join(found) or 'no camera'}")
        return self._harvester.create(0 if serial is None else {"serial_number": serial})

    def _set(self, name: str, value: Feature) -> None:
        try:
            self._nodes.get_node(name).value = on_off(value)
        except Exception as error:
            raise ConfigError(f"{self._where}: feature {name}: {on_off(value)}: {error}") from None


def with_size(config: Any) -> dict[str, Feature]:
    """The features to set, the width and height asked for before all others."""
    size = {"Width": config.width, "Height": config.height}
    return {**{name: value for name, value in size.items() if value is not None}, **config.features}


def on_off(value: Feature) -> Feature:
    """YAML reads On and Off as booleans; GenICam means the words."""
    return ("On" if value else "Off") if isinstance(value, bool) else value


def _maybe(read: Callable[[], Any]) -> int | None:
    """What a producer may not know."""
    try:
        return int(read())
    except Exception:  # each binding has errors of its own for "not available"
        return None
