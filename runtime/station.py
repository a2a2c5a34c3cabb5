"""One part stream as the operator writes it down: station.yaml."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .bus.endpoints import check_endpoint
from .channel import Policy
from .config import ConfigStruct, load_yaml
from .head import HeadForm
from .ids import check_id
from .networks import NETWORKS
from .networks.stall import Stall
from .settings import TriggerMode
from .sources import SourceConfig
from .sources.faulty import FaultyConfig
from .sources.live import LiveConfig
from .store.config import StoreConfig

IN_HAND = 4
"""Frames in use beside those in the queue: in capture, in detection, and two at the sinks."""


class Station(ConfigStruct, frozen=True):
    """Paths are relative to the station file."""

    line: str
    """Name of the line on the wire, [A-Za-z0-9._-]{1,64}."""
    station: str
    """Name of the station on the wire, the same letters."""
    recipe: str
    """The recipe file."""
    source: SourceConfig
    camera_id: str | None = None
    """Name of the camera on the wire; absent: the source's kind."""
    trigger: TriggerMode = "software"
    """`software`: a request on the control socket is a part; `free_run`: every frame is one."""
    policy: Policy = "drop_oldest"
    """What happens when detection falls behind; a dropped part is INVALID with QUEUE_FULL, never silent."""
    queue: int = 4
    """Triggers that may wait for capture, and frames that may wait for detection, 1..64."""
    frame_timeout_ms: int | None = None
    """How long a trigger waits for its frame; absent: half the recipe's deadline."""
    bus: str = "tcp://127.0.0.1:5555"
    """Where verdicts come out; loopback TCP or ipc."""
    control: str = "tcp://127.0.0.1:5556"
    """Where requests go in; loopback TCP or ipc."""
    media: str | None = None
    """Where maps and thumbnails come out, for people to look at; absent: nowhere."""
    metrics_port: int | None = None
    """Prometheus metrics on http://127.0.0.1:PORT/metrics, 0..65535; 0: any free port; absent: none."""
    backend: str = "onnxruntime"
    """What runs the network, a key of `NETWORKS`."""
    threads: int = 1
    """CPU threads of the network and of each native kernel, 1..64."""
    head: HeadForm | None = None
    """Kernels around the network: `native`, `reference` (NumPy) or `cuda` (the head on a GPU); absent: native
    where it was compiled."""
    store: StoreConfig | None = None
    """Records of verdicts and images; absent: none are kept."""
    stalls: tuple[Stall, ...] = ()
    """Hangs of the network, on a script: to see what the line sees. They make verdicts INVALID, never OK."""

    def __post_init__(self) -> None:
        for what in ("line", "station"):
            check_id(what, getattr(self, what))
        check_id("camera_id", self.camera)
        for what in ("bus", "control"):
            check_endpoint(what, getattr(self, what))
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65535:
            raise ValueError(f"metrics_port is {self.metrics_port}; expected 0..65535")
        if self.media is not None:
            check_endpoint("media", self.media)
        if self.bus == self.control and not self.bus.endswith((":*", ":0")):
            raise ValueError(f"bus and control are both {self.bus}; they are two sockets, give them two")
        if self.backend not in NETWORKS:
            raise ValueError(f"backend is {self.backend!r}; expected one of {', '.join(sorted(NETWORKS))}")
        if not (1 <= self.queue <= 64 and 1 <= self.threads <= 64):
            raise ValueError(f"queue is {self.queue}, threads {self.threads}; expected 1..64 each")
        if self.frame_timeout_ms is not None and self.frame_timeout_ms < 1:
            raise ValueError(f"frame_timeout_ms is {self.frame_timeout_ms}; expected >= 1, or leave it out")
        buffers = _buffers(self.source)
        if buffers < self.queue + IN_HAND:
            raise ValueError(
                f"source has {buffers} buffers; expected at least queue + {IN_HAND} = {self.queue + IN_HAND}"
            )

    @property
    def camera(self) -> str:
        """`camera_id`, or the source's kind."""
        return self.camera_id or str(self.source.__struct_config__.tag)

    @property
    def simulated(self) -> bool:
        """Whether no real part is seen: recorded and synthetic images must never pass one."""
        return not isinstance(self.source, LiveConfig)


def load_station(path: Path) -> Station:
    """Reads a station file; its `recipe` comes back as an absolute path.

    Raises:
        ConfigError: the file is missing or does not say what it must, with its line.
    """
    station = load_yaml(path, Station)
    return msgspec.structs.replace(station, recipe=str(path.resolve().parent / station.recipe))


def _buffers(source: SourceConfig) -> int:
    return _buffers(source.source) if isinstance(source, FaultyConfig) else source.buffers
