"""A station for the tests, in a process of its own: the real publish thread and sockets, parts made up.

python station_process.py BUS CONTROL SEND_HWM PARTS: publishes so many verdicts as fast as it goes, then only
answers; ends at `shutdown`.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

from runtime.bus.sockets import Bus
from runtime.channel import Channel
from runtime.ids import new_boot_id, new_ulid
from runtime.product import NoRecipes, Product
from runtime.scripted import ScriptedDetector, scripted_terms
from runtime.settings import Settings
from runtime.threads.notes import Ended, Lane, Links, Opened, Prepared, Result, Started, Turn, Turned
from runtime.threads.publish import Publish
from runtime.ticket import Ticket, now_us


def main(bus: str, control: str, send_hwm: int, parts: int) -> None:
    terms = scripted_terms()
    terms = replace(terms, provenance=replace(terms.provenance, boot_id=new_boot_id()))
    settings = Settings(provenance=terms.provenance, thresholds=terms.thresholds, deadline_ms=20_000)
    links = Links(Channel(4, "drop_latest"), Channel(1024))
    product = Product(terms, ScriptedDetector)
    sockets = Bus(bus, control, send_hwm)
    publish = Publish(
        settings, sockets, links, [], product, NoRecipes(), lambda *how: None, threading.Event().set
    )
    feeder = threading.Thread(
        target=feed, args=(links, Lane("detect", terms, Channel(4)), parts), daemon=True
    )
    feeder.start()
    publish.serve()
    sockets.close()


def feed(links: Links, lane: Lane, parts: int) -> None:
    """What capture and detect would say."""
    for note in (Started("capture"), Started("detect"), Prepared(lane), Turned(Turn(lane, True))):
        links.inbox.put(note)
    for number in range(1, parts + 1):
        opened_us = now_us()
        ticket = Ticket(number, opened_us, opened_us + lane.terms.deadline_us, new_ulid(), lane.terms)
        links.inbox.put(Opened(ticket))
        links.inbox.put(Result(ticket, ("NO_FRAME",)))
    while not links.requests.closed:
        links.requests.get(100)
    links.inbox.put(Ended("detect"))
    links.inbox.put(Ended("capture"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
