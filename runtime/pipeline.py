"""Frames in, one verdict per ticket out: three threads, and the channels between them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from .bus.sockets import Bus
from .channel import Channel
from .detector import Detector
from .errors import PipelineError
from .ledger import Counters
from .product import NoRecipes, Product, Recipes
from .settings import Settings, TriggerMode
from .sink import Sink
from .source import Source
from .state import State
from .store.recorder import Recorder
from .threads.capture import Capture
from .threads.detect import Detect
from .threads.notes import Links, Shot, Stop
from .threads.publish import Publish

INBOX = 1024
"""Notes that may wait for the publish thread; more make the other threads wait."""
OPEN_TIMEOUT_S = 10.0


class Pipeline:
    """A station's run, from `start` to `join`; used once.

    Source, detector and sockets are opened, used and closed by one thread each: capture, detect, publish.
    """

    def __init__(
        self,
        settings: Settings,
        open_source: Callable[[], Source],
        open_detector: Callable[[], Detector],
        warm_up: Callable[[Detector], None] | None = None,
        sinks: Sequence[Sink] = (),
        recipes: Recipes | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            warm_up: gets the open detector, before the first trigger is accepted; raises to refuse it.
            sinks: called from one thread of their own, `close` included.
            recipes: those that may be changed to while it runs; None: none.
            recorder: keeps every verdict, closed at the end; None: no records are kept.
        """
        self._settings, self._recorder = settings, recorder
        self._sinks = (*sinks, *(() if recorder is None else recorder.sinks))
        self._product = Product(settings.terms, open_detector, warm_up)
        self._recipes = NoRecipes() if recipes is None else recipes
        # One place more than triggers may take: for an order to turn to another recipe or mode.
        self._links = Links(Channel(settings.queue + 1, "drop_latest"), Channel(INBOX, "wait"))
        capture = Capture(open_source, self._links)
        self._workers = [_thread("capture", capture.run)]
        self._publisher = _thread("publish", self._run_publish)
        self._publish: Publish | None = None
        self._endpoints = ("", "")
        self._error: Exception | None = None
        self._bound, self._ready = threading.Event(), threading.Event()
        self._was_ready = False

    def start(self) -> None:
        """Binds the sockets, then starts opening source and detector; returns before they are open.

        Raises:
            BusError: an endpoint is in use or not ours to bind; nothing else was touched then.
        """
        self._publisher.start()
        if not self._bound.wait(OPEN_TIMEOUT_S):
            raise PipelineError("bus: the sockets did not open in time")
        if self._publish is None:
            self.join()
            return
        self._workers[0].start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether parts are being accepted, within `timeout_s`; False when a fault came first."""
        return self._ready.wait(timeout_s) and self._was_ready

    def stop(self) -> None:
        """Asks for the end: what is in flight is finished first. Returns at once; `join` waits."""
        self._links.inbox.put(Stop(), 1000)

    def join(self, timeout_s: float | None = None) -> bool:
        """Waits for the end of the run; False when it goes on after `timeout_s`.

        Raises:
            InspectionError: what ended the run, if a fault did; a bug keeps its own type and traceback.
            PipelineError: a thread hangs; it was left behind, every ticket is answered.
        """
        self._publisher.join(timeout_s)
        if self._publisher.is_alive():
            return False
        hung = self._publish.hung if self._publish else ()
        for worker in list(self._workers):
            if self._publish is not None and worker.name not in hung:
                worker.join(OPEN_TIMEOUT_S)  # it may still be opening: nothing can interrupt that
        if self._error is not None:
            raise self._error
        if hung:
            raise PipelineError(f"thread {' and '.join(hung)} did not end in time and was left behind")
        return True

    def finish(self, timeout_s: float) -> None:
        """`stop` and `join` in one.

        Raises:
            InspectionError: as `join`.
            PipelineError: it goes on after `timeout_s`.
        """
        self.stop()
        if not self.join(timeout_s):
            raise PipelineError(f"the station did not end within {timeout_s:.0f} s")

    def counters(self) -> Counters:
        """Totals since the start."""
        assert self._publish is not None, "not started"
        return self._publish.counters

    @property
    def state(self) -> State:
        """State now."""
        return State.PREOPERATIONAL if self._publish is None else self._publish.state

    @property
    def queue_depth(self) -> int:
        """Frames that wait for detection."""
        return 0 if self._publish is None else self._publish.queue_depth

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of the station's health."""
        return () if self._publish is None else self._publish.flags

    @property
    def frame_age_s(self) -> float:
        """How long ago the last frame came, s; NaN before the first."""
        return math.nan if self._publish is None else self._publish.frame_age_s

    @property
    def records_waiting(self) -> int:
        """Records that are not on the disk yet."""
        return 0 if self._recorder is None else self._recorder.journal.waiting

    @property
    def records_lost(self) -> int:
        """Records that nobody will find."""
        return 0 if self._recorder is None else self._recorder.journal.lost

    @property
    def trigger(self) -> TriggerMode:
        """Who says that a part is there, at the start."""
        return self._settings.trigger

    @property
    def endpoints(self) -> tuple[str, str]:
        """Bus and control as bound, with the port that a `*` became; known after `start`."""
        return self._endpoints

    def _run_publish(self) -> None:
        """Body of the publish thread."""
        try:
            bus = Bus(self._settings.bus, self._settings.control)
            try:
                self._serve(bus)
            finally:
                bus.close()
        except Exception as error:
            self._error = error
        finally:
            self._links.requests.close()
            self._links.inbox.close()
            self._bound.set()
            self._ready.set()

    def _serve(self, bus: Bus) -> None:
        self._endpoints = bus.endpoints
        self._publish = Publish(
            self._settings,
            bus,
            self._links,
            self._sinks,
            self._product,
            self._recipes,
            self._start_detect,
            self._note_ready,
            self._recorder,
        )
        self._bound.set()
        try:
            self._publish.serve()
        finally:
            self._error = self._publish.error

    def _note_ready(self) -> None:
        self._was_ready = True
        self._ready.set()

    def _start_detect(self, name: str, load: Callable[[], Product], frames: Channel[Shot]) -> None:
        """One more detect thread; those that ended meanwhile are forgotten."""
        every_map = any(sink.wants_maps for sink in self._sinks)
        detect = Detect(name, load, frames, self._links, every_map)
        capture, *rest = self._workers
        worker = _thread(name, detect.run)
        worker.start()
        self._workers = [capture, *(each for each in rest if each.is_alive()), worker]


def _thread(name: str, body: Callable[[], None]) -> threading.Thread:
    """Daemons: one that hangs for ever must not keep the process from ending."""
    return threading.Thread(target=body, name=name, daemon=True)
