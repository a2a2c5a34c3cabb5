"""Which state the station is in, by what its threads tell."""

from __future__ import annotations

from collections.abc import Callable

from ..state import RUNNING, State
from .lanes import Lanes
from .notes import Lane, Turn
from .reporter import Reporter


class Helm:
    """Moves the state and tells of it; lives in the publish thread."""

    def __init__(
        self, reporter: Reporter, lanes: Lanes, free_run: bool, on_ready: Callable[[], None]
    ) -> None:
        """`free_run`: once Ready it goes on to take every frame."""
        self._reporter, self._lanes, self._on_ready = reporter, lanes, on_ready
        self._free_run = free_run
        self._prepared = self._was_ready = False
        self.starting = {"capture"}
        """Threads that have not opened their thing yet."""
        self.ending = False

    def started(self, thread: str) -> None:
        """A thread has opened its thing."""
        self.starting.discard(thread)
        self._become_ready()

    def prepared(self, lane: Lane) -> None:
        """A recipe has judged its golden images right: it is the next one."""
        self._prepared = True
        self._lanes.prepared(lane)
        self._become_ready()

    def turned(self, turn: Turn) -> None:
        """Capture has turned: what heartbeats say of recipe and mode is so from here on."""
        provenance = turn.lane.terms.provenance
        self._lanes.taken(turn)
        self._reporter.terms = turn.lane.terms
        self._reporter.health.simulated = provenance.simulated
        self._reporter.health.loosened = provenance.loosened
        change = self._lanes.change
        if change is not None and change.thread == turn.lane.thread:
            self._lanes.change = None
            detail = f"recipe {provenance.recipe.id} version {provenance.recipe.version} is in force"
            self._reporter.event("recipe_prepared", "info", detail, request_id=change.request_id)
        running = self._lanes.free or self._lanes.turning
        if self._reporter.state is State.CONTINUOUS_EXECUTION and not running:
            self._reporter.move(State.READY, "STOP")

    def refused(self, why: str) -> None:
        """The new recipe does not work; nothing else has changed."""
        change, self._lanes.change = self._lanes.change, None
        assert change is not None
        self._lanes.forget(change.thread)
        self._reporter.event("recipe_refused", "error", why, "RECIPE_INVALID", request_id=change.request_id)

    def done(self) -> None:
        """Nothing is in flight."""
        if self._reporter.state is State.SINGLE_EXECUTION:
            self._reporter.move(State.READY, "DONE")

    def camera_lost(self, detail: str) -> None:
        """It is being opened again."""
        self._reporter.health.camera_lost = True
        if self._reporter.state in RUNNING or self._reporter.state is State.INITIALIZED:
            self._reporter.move(State.PREOPERATIONAL, "CAMERA_LOST")
        self._reporter.event("camera_lost", "error", detail, "CAMERA_LOST")

    def camera_back(self) -> None:
        """It is open again."""
        self._reporter.health.camera_lost = False
        self._reporter.event("camera_back", "info", "the camera is open again")
        if not self._was_ready:
            # Lost while the station started: the golden images have still to be judged.
            self._become_ready()
        elif self._reporter.state is State.PREOPERATIONAL and not self.ending:
            free = self._lanes.free
            self._reporter.move(State.CONTINUOUS_EXECUTION if free else State.READY, "CAMERA_BACK")

    def end(self, cause: str) -> None:
        """No more parts; what is in flight is finished."""
        self.ending = True
        if self._reporter.state in RUNNING or self._reporter.state is State.INITIALIZED:
            self._reporter.move(State.PREOPERATIONAL, cause)

    def _become_ready(self) -> None:
        """Everything is open: Initialized; the golden images are right: Ready, and on to a free run."""
        reporter = self._reporter
        if self.starting or self.ending:
            return
        if reporter.state is State.PREOPERATIONAL and not reporter.health.camera_lost:
            reporter.move(State.INITIALIZED, "STARTED")
        if reporter.state is State.INITIALIZED and self._prepared:
            self._was_ready = True
            reporter.move(State.READY, "RECIPE_PREPARED")
            if self._free_run:
                self._lanes.run_free(True)
                reporter.move(State.CONTINUOUS_EXECUTION, "START")
            self._on_ready()
