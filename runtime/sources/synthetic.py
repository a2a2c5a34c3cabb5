"""A synthetic web: seeded material that moves past, with seeded defects and their ground truth."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from ..config import ConfigStruct
from ..frame import U8, Frame
from .checks import check_range, check_stream
from .clock import Clock, Pacer
from .defects import KINDS, Defect, random_defect, stamp_defect
from .exposures import Exposures
from .textures import render_roll

NOISE_ZERO = 24
"""Grey level of the noise bank that stands for no noise."""
SLACK = 64
"""Rows and columns the noise bank is larger than a frame: 4096 different noises."""
JITTER_PX = 3
"""Registration jitter of a frame on the web, rows and columns, +-."""
TINT = (0.90, 0.97, 1.0)
"""Blue, green, red of a colour frame."""

DEFECTS_OF = {
    "woven": ("spot", "stain", "missing_thread", "scratch"),
    "brushed": ("spot", "stain", "scratch", "dent"),
    "granular": ("spot", "stain", "scratch", "dent"),
}
"""Texture -> the kinds of defect it shows unless the station says otherwise."""


class SyntheticConfig(ConfigStruct, frozen=True, tag_field="kind", tag="synthetic"):
    """A web of one material; the same config gives the same web and defects in every process."""

    width: int = 1280
    height: int = 1024
    channels: Literal[1, 3] = 1
    """1 grey, 3 BGR."""
    texture: Literal["woven", "brushed", "granular"] = "woven"
    seed: int = 0
    """Decides web and defects, >= 0."""
    defect_rate: float = 0.1
    """Share of sections with a defect, 0..1."""
    defect_kinds: tuple[Literal["spot", "stain", "scratch", "missing_thread", "dent"], ...] | None = None
    """Kinds to draw from; absent: those that fit the texture."""
    defect_size_px: tuple[float, float] = (24.0, 72.0)
    """Least and most largest extent, px; equal for a fixed size."""
    defect_contrast: tuple[float, float] = (0.2, 0.45)
    """Least and most change of the grey level, share of full scale; equal for a fixed contrast."""
    counts_per_section: int = 1000
    """Encoder counts from one section to the next."""
    rate_hz: float | None = 30.0
    """Sections per second without a trigger; absent: as fast as asked."""
    buffers: int = 8
    """Frames that may be in use at once, 1..256."""

    def __post_init__(self) -> None:
        check_stream(self.rate_hz, self.buffers)
        if not (16 <= self.width <= 16384 and 16 <= self.height <= 16384):
            raise ValueError(f"frame is {self.width} x {self.height}; expected 16..16384 pixels each way")
        if self.seed < 0 or self.counts_per_section < 1 or not 0 <= self.defect_rate <= 1:
            raise ValueError("expected seed >= 0, counts_per_section >= 1 and defect_rate within 0..1")
        if self.defect_kinds is not None and not self.defect_kinds:
            raise ValueError(f"defect_kinds is empty; expected some of {', '.join(KINDS)}, or leave it out")
        check_range("defect_size_px", self.defect_size_px, 1, 16384)
        check_range("defect_contrast", self.defect_contrast, 0, 1)


def section_of(encoder: int, config: SyntheticConfig) -> int:
    """Number of the section under the camera at an encoder position."""
    return encoder // config.counts_per_section


def section_defects(seed: int, section: int, config: SyntheticConfig) -> tuple[Defect, ...]:
    """The defects of a section, none or one: a pure function that any process can ask.

    Coordinates are pixels of the frame that shows the section.
    """
    rng = np.random.default_rng([seed, section % 2**63])
    if rng.random() >= config.defect_rate:
        return ()
    kinds = config.defect_kinds or DEFECTS_OF[config.texture]
    shape = (config.height, config.width)
    return (random_defect(rng, shape, kinds, config.defect_size_px, config.defect_contrast),)


class SyntheticSource:
    """A camera over the synthetic web; `Frame.name` is `section N`.

    The frame is a piece of a roll rendered at the start, plus what changes in front of a real camera:
    light that drifts by 2 %, sensor noise, a jitter of `JITTER_PX`, and the section's defects.
    """

    def __init__(self, config: SyntheticConfig, base: Path = Path(), clock: Clock | None = None) -> None:
        """Renders the roll, within a second for 1280 x 1024; `base` is not used."""
        self._config, self._clock = config, clock or Clock()
        grey = (config.height, config.width)
        self.shape: tuple[int, ...] = grey if config.channels == 1 else (*grey, 3)
        self.frozen_after: int | None = 2
        self._roll, self._roll_length = _roll(config)
        self._noise = _noise_bank(config)
        self._pacer = Pacer(config.rate_hz, self._clock)
        where = f"synthetic {config.texture}"
        self._exposures = Exposures(where, self.shape, config.buffers, self._clock)
        self._asked: deque[int | None] = deque()
        self._section = -1

    def trigger(self, encoder: int | None) -> None:
        """Exposes the section at `encoder`, or the next one for None; the next read gives it at once."""
        self._asked.append(None if encoder is None else section_of(encoder, self._config))

    def read(self, timeout_ms: int) -> Frame:
        """The oldest triggered exposure; without any, the next section when it is due at `rate_hz`."""
        deadline_us = self._clock.now_us() + 1000 * timeout_ms
        section = self._next_section(deadline_us)
        self._section = section
        buffer = self._exposures.lease(deadline_us)
        self.render(section, self._exposures.next_id, buffer)
        return self._exposures.frame(buffer, f"section {section}", "synthetic")

    def check(self) -> None:
        """It is always there."""

    def close(self) -> None:
        """Nothing is held."""

    def defects(self, section: int) -> tuple[Defect, ...]:
        """Ground truth of a section; see `defects.ground_truth_mask`."""
        return section_defects(self._config.seed, section, self._config)

    def render(self, section: int, exposure: int, out: U8) -> None:
        """Draws a section into `out` as exposure number `exposure` sees it: the same for the same numbers."""
        height, width = self.shape[:2]
        rng = np.random.default_rng([self._config.seed, section % 2**63, exposure])
        dy, dx, ny, nx = (int(n) for n in rng.integers(0, (2 * JITTER_PX + 1,) * 2 + (SLACK,) * 2))
        top = (section * height + dy) % self._roll_length
        web = self._roll[top : top + height, dx : dx + width]
        noise = self._noise[ny : ny + height, nx : nx + width]
        light = 1 + 0.015 * math.sin(exposure / 97) + 0.005 * float(rng.standard_normal())
        cv2.addWeighted(web, light, noise, 1.0, -NOISE_ZERO, dst=out)
        for defect in self.defects(section):
            stamp_defect(out, defect)

    def _next_section(self, deadline_us: int) -> int:
        """The section of the next exposure: the triggered one, or the following one when it is due."""
        if self._asked:
            asked = self._asked.popleft()
            return self._section + 1 if asked is None else asked
        lost = self._pacer.wait(deadline_us)
        self._exposures.lose(lost)
        return self._section + 1 + lost


def _roll(config: SyntheticConfig) -> tuple[U8, int]:
    """The roll with its beginning once more behind its end, and its length without that."""
    # Not a multiple of the height: a section comes back to the same place only after many.
    length = 2 * config.height + config.height // 8 + 4
    roll = render_roll(config.texture, length, config.width + 2 * JITTER_PX, config.seed)
    joined = np.concatenate([roll, roll[: config.height]])
    return _tinted(joined) if config.channels == 3 else joined, length


def _tinted(grey: U8) -> U8:
    return np.stack([(grey * share).astype(np.uint8) for share in TINT], axis=2)


def _noise_bank(config: SyntheticConfig) -> U8:
    """Sensor noise of 2 grey levels around `NOISE_ZERO`."""
    rng = np.random.default_rng([config.seed, 0x4E4F4953])
    shape: tuple[int, ...] = (config.height + SLACK, config.width + SLACK)
    shape = shape if config.channels == 1 else (*shape, 3)
    noise = np.rint(2 * rng.standard_normal(shape, np.float32) + NOISE_ZERO)
    return np.clip(noise, 0, 2 * NOISE_ZERO).astype(np.uint8)
