"""Names on the wire: how they are checked, and how new ones are made."""

from __future__ import annotations

import random
import re
import secrets
import time

ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in CROCKFORD for b in CROCKFORD]
_DICE = random.Random()
"""Unique, not secret: seeded by the system once, instead of a system call per part. Our own, since anybody
may seed the common one, and two stations would then give the same names."""


def check_id(what: str, value: str) -> None:
    """Raises ValueError unless `value` is 1 to 64 of [A-Za-z0-9._-], as the wire contract asks."""
    if not ID.fullmatch(value):
        raise ValueError(f"{what} is {value!r}; expected 1 to 64 letters, digits, '.', '_' or '-'")


def new_boot_id() -> str:
    """16 hex digits, new on every start of a station."""
    return secrets.token_hex(8)


def new_ulid() -> str:
    """26 characters: 48 bit wall clock in ms, 80 random bits; sorts by time.

    Source: github.com/ulid/spec.
    """
    value = time.time_ns() // 1_000_000 << 80 | _DICE.getrandbits(80)
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
