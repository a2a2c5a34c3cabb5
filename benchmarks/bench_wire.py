"""What the wire costs: encoding a verdict, from publish to another process, a request's way, replay.

    python -m benchmarks.bench_wire [--seconds 10] [--rate 500]

One subscriber and one client in processes of their own, verdicts as a station sends them. The rows also stand
in results/wire.json. Other processes spoil every figure here: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import zmq
from rich.console import Console
from rich.table import Table

from runtime.bus.client import Client, Message
from runtime.bus.control import Control
from runtime.bus.sockets import Bus
from runtime.bus.stream import Stream
from runtime.bus.wire import encode, to_message
from runtime.channel import Channel
from runtime.health import Health
from runtime.ids import new_ulid
from runtime.ledger import Counters, Ledger
from runtime.measure.latency import Quantiles, quantiles
from runtime.measure.machine import this_machine
from runtime.output import write_json
from runtime.process import quicken_threads
from runtime.product import NoRecipes
from runtime.scripted import scripted_terms
from runtime.settings import Settings
from runtime.threads.desk import StationDesk
from runtime.threads.lanes import Lanes
from runtime.threads.notes import Links
from runtime.threads.reporter import Reporter
from runtime.ticket import Ticket, now_us
from runtime.verdict import FrameFacts, Latency, Verdict, decide

RESULTS = Path(__file__).parent / "results" / "wire.json"
ENCODED = 20_000
REPLAYED = 10_000
WAIT_MS = 10_000
TERMS = scripted_terms()


class Row(msgspec.Struct, frozen=True):
    """One question and its latencies, ms."""

    what: str
    ms: Quantiles
    note: str = ""


def main() -> int:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="time of each row")
    parser.add_argument("--rate", type=float, default=500, help="verdicts and requests per second")
    arguments = parser.parse_args()
    quicken_threads()
    machine = this_machine()
    rows = [encoding()]
    with tempfile.TemporaryDirectory() as folder:
        transports = {"tcp": ("tcp://127.0.0.1:*",) * 2, "ipc": (f"ipc://{folder}/b", f"ipc://{folder}/c")}
        for name, endpoints in transports.items():
            rows.append(publishing(name, endpoints, arguments.seconds, arguments.rate))
            rows.append(asking(name, endpoints, arguments.seconds, arguments.rate))
        replay = {name: replaying(endpoints) for name, endpoints in transports.items()}
    write_json(RESULTS, {"machine": machine, "rows": rows, "replayed_per_second": replay})
    _print(rows, replay, machine)
    return 0


def encoding() -> Row:
    """The message and its JSON, of one verdict."""
    verdict, counters = _verdict(1), Counters(1, 1, 0, 0, 0, 0)
    spans = []
    size = 0
    for _ in range(ENCODED):
        begun = time.perf_counter_ns()
        size = len(encode(to_message(verdict, counters)))
        spans.append((time.perf_counter_ns() - begun) / 1000)
    return Row("verdict -> JSON", quantiles(spans), f"{size} bytes")


def publishing(name: str, endpoints: tuple[str, str], seconds: float, rate: float) -> Row:
    """From the call of publish to the return of recv in another process."""
    bus = Bus(*endpoints)
    sent: dict[int, int] = {}
    with _process(_receive, bus.endpoints[0]) as end:
        while not end.poll(0):
            bus.wait(10)
        end.recv()
        for seq in _paced(seconds, rate):
            payload = encode(to_message(_verdict(seq), Counters(seq, seq, 0, 0, 0, 0)))
            sent[seq] = now_us()
            bus.publish(b"v1/verdict/line/station/", payload)
        bus.publish(b"v1/state/line/station/", b'{"seq": 0}')
        arrived: dict[int, int] = end.recv()
    bus.close()
    return Row(
        f"publish -> received, {name}", quantiles([arrived[n] - at for n, at in sent.items() if n in arrived])
    )


def asking(name: str, endpoints: tuple[str, str], seconds: float, rate: float) -> Row:
    """A request for the status and its reply, seen by the client."""
    with _station(endpoints, 0) as bound, _process(_ask, (bound, seconds, rate)) as end:
        return Row(f"request -> reply, {name}", quantiles(end.recv()))


def replaying(endpoints: tuple[str, str]) -> float:
    """Verdicts a second that a late joiner gets from the ring, until it has all of them."""
    with _station(endpoints, REPLAYED) as bound, _process(_catch_up, bound) as end:
        seconds: float = end.recv()
        return round(REPLAYED / seconds, -2)


def _receive(end: Connection, endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.SUBSCRIBE, b"v1/")
        socket.connect(endpoint)
        socket.recv_multipart()
        end.send(None)
        arrived: dict[int, int] = {}
        while (frames := socket.recv_multipart())[0] != b"v1/state/line/station/":
            at_us = now_us()
            arrived[msgspec.json.decode(frames[1])["seq"]] = at_us
    end.send(arrived)


def _ask(end: Connection, how: tuple[tuple[str, str], float, float]) -> None:
    endpoints, seconds, rate = how
    spans = []
    with Client(*endpoints) as client:
        client.status()
        for _ in _paced(seconds, rate):
            begun = time.perf_counter_ns()
            client.status()
            spans.append((time.perf_counter_ns() - begun) / 1000)
    end.send(spans)


def _catch_up(end: Connection, endpoints: tuple[str, str]) -> None:
    with Client(*endpoints) as client:
        client.status()
        stream = Stream(_Told(client), whole_boot=True)
        begun_s = time.perf_counter()
        for _ in range(REPLAYED):
            assert stream.receive(0) is not None
        end.send(time.perf_counter() - begun_s)


class _Told:
    """A client that hears one heartbeat, and by it of everything it has missed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.request = client.request

    def receive(self, timeout_ms: int) -> Message | None:
        """The heartbeat."""
        boot_id = self._client.request("status")["boot_id"]
        return Message("hb", {"boot_id": boot_id, "head_seq": REPLAYED})


@contextmanager
def _station(endpoints: tuple[str, str], verdicts: int) -> Iterator[tuple[str, str]]:
    """Bus and control in a thread, so many verdicts in the ring; yields the endpoints."""
    bus, over = Bus(*endpoints), threading.Event()

    def serve() -> None:
        settings = Settings(provenance=TERMS.provenance, thresholds=TERMS.thresholds, deadline_ms=20_000)
        links = Links(Channel(4), Channel(4))
        ledger = Ledger()
        reporter = Reporter(bus, ledger, TERMS)
        lanes = Lanes(links, lambda *how: None, 4, "wait", True)
        desk = StationDesk(settings, links, ledger, reporter, lanes, NoRecipes(), over.set)
        control = Control(desk, TERMS.provenance.boot_id)
        for seq in range(1, verdicts + 1):
            reporter.ring.add(seq, new_ulid(), encode(to_message(_verdict(seq), ledger.counters)))
        reporter.seq = verdicts
        while not over.is_set():
            if bus.wait(100):
                for frames in bus.requests():
                    bus.reply(control.answer(frames))
        bus.close()

    thread = threading.Thread(target=serve, name="publish")
    bound = bus.endpoints
    thread.start()
    try:
        yield bound
    finally:
        over.set()
        thread.join()


@contextmanager
def _process(body: Callable[..., None], argument: object) -> Iterator[Connection]:
    """Runs the other side; yields the end on which it tells what it found."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=body, args=(theirs, argument), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.join(1.0)
        process.kill()
        process.join()


def _paced(seconds: float, rate: float) -> Iterator[int]:
    """1, 2, ... at that rate."""
    begun_s = time.perf_counter()
    for number in range(1, int(seconds * rate) + 1):
        time.sleep(max(0.0, begun_s + number / rate - time.perf_counter()))
        yield number


def _verdict(seq: int) -> Verdict:
    opened_us = now_us()
    return Verdict(
        seq=seq,
        judgement=decide(0.8231, TERMS.thresholds),
        ticket=Ticket(
            seq, opened_us, opened_us + 250_000, new_ulid(), TERMS, seq, f"SN-{seq:06d}", 1000 * seq
        ),
        frame=FrameFacts(seq, 1280, 1024, 1, 0, time.time_ns() // 1000, "device_ptp", opened_us),
        lat_us=Latency(12, 2100, 90, 900, 2800, 700, 60, 6662),
        late=False,
        t_pub_us=time.time_ns() // 1000,
        clock_ok=True,
        health=Health("ok", ()),
    )


def _print(rows: list[Row], replay: dict[str, float], machine: object) -> None:
    table = Table("what", "p50 us", "p99 us", "p99.9 us", "samples", "note")
    for row in rows:
        us = ("-" if ms is None else f"{1000 * ms:.0f}" for ms in (row.ms.p50, row.ms.p99, row.ms.p99_9))
        table.add_row(row.what, *us, str(row.ms.samples), row.note)
    console = Console(highlight=False)
    console.print(msgspec.json.encode(machine).decode())
    console.print(table)
    for name, rate in replay.items():
        console.print(f"replay, {name}: {rate:,.0f} verdicts/s")


if __name__ == "__main__":
    sys.exit(main())
