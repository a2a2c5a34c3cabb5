"""The last verdicts as they went out, for those who lost some on the way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

MOST = 20_000
"""Verdicts kept: 11 minutes at 30 parts a second, about 26 MB."""
CHUNK = 100
"""Verdicts in one reply: about 130 kB, so that a replay delays no verdict by more than a fraction of a ms."""


class Ring:
    """Verdicts of this boot by number and by name; the oldest leave."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._sent: OrderedDict[int, tuple[str, bytes]] = OrderedDict()
        self._seqs: dict[str, int] = {}

    def add(self, seq: int, result_id: str, payload: bytes) -> None:
        """Keeps what was just published."""
        self._sent[seq] = (result_id, payload)
        self._seqs[result_id] = seq
        if len(self._sent) > self._most:
            _, (oldest, _) = self._sent.popitem(last=False)
            del self._seqs[oldest]

    @property
    def oldest_seq(self) -> int | None:
        """Number of the oldest verdict that is still there; None: none yet."""
        return next(iter(self._sent), None)

    def again(self, seqs: Iterable[int]) -> list[msgspec.Raw]:
        """The verdicts of these numbers that are still there, each marked `replayed`."""
        kept = (self._sent.get(seq) for seq in seqs)
        return [_replayed(each[1]) for each in kept if each is not None]

    def find(self, result_id: str) -> msgspec.Raw | None:
        """The verdict of this name, marked `replayed`; None when it is not, or no longer, there."""
        seq = self._seqs.get(result_id)
        return None if seq is None else _replayed(self._sent[seq][1])

    def last(self) -> msgspec.Raw | None:
        """The newest verdict, marked `replayed`."""
        newest = next(reversed(self._sent.values()), None)
        return None if newest is None else _replayed(newest[1])


def _replayed(payload: bytes) -> msgspec.Raw:
    """The same JSON object with one field more; it is not parsed for that."""
    return msgspec.Raw(payload[:-1] + b',"replayed":true}')
