"""Reasons: the names and numbers of the line interface contract, each once, for ever."""

from __future__ import annotations

import re
from collections import Counter

from runtime.reasons import REASONS
from runtime.threads.capture import REASON_OF
from runtime.threads.publish import CAUSE_AT_START, CAUSE_LATER

CONTRACT = """
camera: 1001 NO_FRAME, 1002 CAMERA_LOST, 1003 INCOMPLETE_FRAME, 1004 STALE_FRAME, 1005 FROZEN_FRAME,
    1006 WRONG_FORMAT, 1007 TRIGGER_IGNORED_BY_CAMERA
image: 2001 TOO_DARK, 2002 OVEREXPOSED, 2003 OUT_OF_FOCUS, 2004 OCCLUDED, 2005 PART_NOT_PRESENT,
    2006 DECODE_ERROR, 2007 DRIFT
engine: 3001 ENGINE_UNAVAILABLE, 3002 ENGINE_UNTRUSTED, 3003 INFER_FAILED, 3004 GPU_OOM,
    3005 NON_FINITE_SCORE, 3006 FALLBACK_NOT_ALLOWED
timing: 4001 DEADLINE_MISSED, 4002 QUEUE_FULL, 4003 OVERRUN
storage: 5001 STORE_UNAVAILABLE, 5002 DISK_LOW
comms: 6001 PLC_LIFEBIT_LOST, 6002 DUPLICATE_TRIGGER, 6003 REPLAY_GAP
configuration: 7001 RECIPE_INVALID, 7002 RECIPE_HASH_MISMATCH
system: 8001 STARTING, 8002 STOPPING, 8003 WORKER_RESTARTED, 8004 THERMAL, 8005 CLOCK_STEP
decision: 9001 SCORE_OVER_THRESHOLD, 9002 REGION_RULE
"""
"""Line interface contract, section 3.4, copied by hand."""


def test_names_and_numbers_are_those_of_the_contract() -> None:
    assert {name: int(number) for number, name in re.findall(r"(\d{4}) (\w+)", CONTRACT)} == REASONS


def test_a_number_means_one_reason_and_fits_a_register() -> None:
    assert max(Counter(REASONS.values()).values()) == 1
    assert all(1000 < number < 10000 for number in REASONS.values())


def test_what_the_threads_give_as_reasons_are_reasons() -> None:
    given = {*REASON_OF.values(), *CAUSE_AT_START.values(), *CAUSE_LATER.values()}
    assert given <= set(REASONS)
