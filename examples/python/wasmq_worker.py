"""A native worker in Python, on asyncio: so many handlers at once, cancellation, drain on SIGTERM.

    async def price(order, context): return {"sku": order["sku"], "price": 12.5}
    worker = await Worker.start("tcp://127.0.0.1:5560", {"orders.price": price}, keys=[...])
    await worker.drain()

As a program (Debian: python3-zmq python3-nacl python3-lz4 python3-msgpack) it serves --service,
after DELAY_MS, and says on stdout what it runs. A value is answered by {"worker": NAME, "echo": value};
with --raw bytes by NAME, a space and the bytes. Without --keys bodies go in clear.

    python3 examples/python/wasmq_worker.py --keys app.key --service orders.price \\
        tcp://127.0.0.1:5560 NAME [DELAY_MS]

SIGUSR1 doubles its concurrency, SIGUSR2 halves it: the broker is told by CREDIT. The connection is
under CURVE where WASMQ_CURVE_PUBLIC_KEY, .._SECRET_KEY and .._SERVER_KEY are set.

It does not remember what it has run: a request that comes again, after its broker was lost, runs
again.
"""
import asyncio
import collections
import inspect
import secrets
import time
from types import SimpleNamespace

import wasmq_codec as codec
import wasmq_wire as wire
from wasmq_client import RequestError
from wasmq_link import Link, curve_from_environment
from wasmq_wire import STATUS, Record

CONCURRENCY_MAX = 65535
# What a broker hands out ahead is a few ms of work; more than this is a broker gone wrong.
WAITING_MAX = 16384
FORGED = {"TAMPERED", "REDIRECTED", "SWAPPED", "UNKNOWN_KEY", "UNSEALED", "BAD_COUNTER"}


class Worker:
    @classmethod
    async def start(cls, endpoints, services, timeout=5.0, **options):
        """Resolves when a broker has taken it; raises RequestError UNAVAILABLE otherwise."""
        worker = cls(endpoints, services, **options)
        try:
            await asyncio.wait_for(worker._is_welcome.wait(), timeout)
        except asyncio.TimeoutError:
            await worker.close()
            raise RequestError("UNAVAILABLE", worker._link.last_reason) from None
        return worker

    def __init__(self, endpoints, services, *, raw_services=None, keys=(), curve=None,
                 concurrency=8):
        """`services`: name -> handler(value, context); `raw_services` take and return bytes."""
        self._services = {name: (handler, False) for name, handler in services.items()}
        self._services |= {name: (handler, True) for name, handler in (raw_services or {}).items()}
        self._keys = dict(keys)
        self._sealer = codec.Sealer(*keys[0]) if keys else codec.Sealer()
        self._session = secrets.randbits(64) or 1
        self._concurrency = concurrency
        self._running = {}  # Tasks by attempt: (slot, generation).
        self._waiting = collections.OrderedDict()  # Records by attempt.
        self._is_draining = False
        self._is_welcome, self._bye = asyncio.Event(), asyncio.Event()
        self._link = Link(endpoints, self, curve)

    @property
    def concurrency(self):
        return self._concurrency

    def set_concurrency(self, count):
        """How many handlers run at once from now on, 1..65535."""
        self._concurrency = min(max(count, 1), CONCURRENCY_MAX)
        if self._link.is_up:
            self._link.write(Record(kind=wire.CREDIT, credit=self._concurrency))
        self._run_waiting()

    async def drain(self, timeout=30.0):
        """Takes no more, gives back what has not begun, finishes what has, and leaves."""
        self._is_draining = True
        if self._link.is_up:
            self._link.write(Record(kind=wire.DRAIN))
            while self._waiting:
                _, record = self._waiting.popitem(last=False)
                self._give_back(record)
            try:
                await asyncio.wait_for(self._bye.wait(), timeout)
            except asyncio.TimeoutError:
                pass
        await self.close()

    async def close(self):
        """Leaves at once; what it has goes to other workers."""
        await self._link.close()
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    # --- what the link tells ---

    def hello(self):
        return Record(kind=wire.HELLO, role=wire.WORKER, version=1, session=self._session,
                      concurrency=self._concurrency, services=list(self._services))

    def on_up(self, welcome):
        self._record_max = welcome.record_max
        self._is_welcome.set()

    def on_down(self, reason):
        # The broker gives what we had to others, and our answers to it would be stale.
        self._waiting.clear()
        for task in self._running.values():
            task.cancel()
        self._running = {}
        if self._is_draining:
            self._bye.set()

    def on_record(self, record):
        if record.kind == wire.REQUEST:
            self._on_request(record)
        elif record.kind == wire.CANCEL:
            self._on_cancel(record)
        elif record.kind == wire.BYE:
            self._bye.set()

    def _on_request(self, record):
        if self._is_draining or len(self._waiting) >= WAITING_MAX:
            self._give_back(record)
        else:
            self._waiting[record.slot, record.generation] = record
            self._run_waiting()

    def _on_cancel(self, cancel):
        attempt = cancel.slot, cancel.generation
        waiting = self._waiting.pop(attempt, None)
        if waiting is not None:
            self._fail(waiting, wire.STATUS_NAME.get(cancel.status, "CANCELLED"), "not begun")
        elif attempt in self._running:
            # Behind its first step, without which it would not answer.
            asyncio.get_running_loop().call_soon(self._running[attempt].cancel)

    # --- a request: in, run, out ---

    def _run_waiting(self):
        while self._waiting and len(self._running) < self._concurrency:
            attempt, record = self._waiting.popitem(last=False)
            self._running[attempt] = asyncio.ensure_future(self._run(record))

    async def _run(self, record):
        """Whatever the handler does, the attempt is answered once, and its place is free."""
        task, began = asyncio.current_task(), time.monotonic()
        attempt = record.slot, record.generation
        try:
            flags, body = await self._handle(record)
            if len(body) > self._record_max - wire.FRAME_BYTES_MIN:
                # Far beyond it the broker's socket would drop the connection and all that is on it.
                raise RequestError("INTERNAL", "the reply is too large for the broker")
            answer = Record(kind=wire.REPLY, body=[body], headers=b"", flags=flags,
                            service_time_us=int((time.monotonic() - began) * 1e6) & 0xFFFFFFFF)
        except asyncio.CancelledError:
            answer = failure_of("CANCELLED", "cancelled")
        except RequestError as error:
            answer = failure_of(error.code, error.reason, error.retry_after_ms)
        except Exception as error:
            # Its words may hold what the sealed body did, and reasons travel in clear.
            answer = failure_of("INTERNAL", "handler failed" if self._keys else repr(error))
        # Over a later connection nobody waits for it.
        if self._running.get(attempt) is task:
            del self._running[attempt]
            self._answer(record, answer)
            self._run_waiting()

    async def _handle(self, record):
        """(flags, body) of the reply."""
        if record.service not in self._services:
            raise RequestError("NOT_FOUND", f"this worker does not serve {record.service}")
        handler, is_raw = self._services[record.service]
        if bool(record.flags & wire.RAW) != is_raw:
            raise RequestError("INVALID_ARGUMENT", "raw bytes" if is_raw else "no raw bytes")
        context = SimpleNamespace(service=record.service, attempt=record.attempts,
                                  timeout_ms=record.timeout_ms, headers=record.headers)
        request_id = wire.request_id(record)
        body = b"".join(record.body)
        if not is_raw:
            body = self._open(body, record, request_id)
        result = handler(body, context)
        if inspect.isawaitable(result):
            result = await result
        if is_raw:
            return wire.RAW, result
        return 0, self._sealer.seal(result, record.service, "reply", request_id)

    def _open(self, body, record, request_id):
        try:
            return codec.open_body(body, self._keys, record.service, "request", request_id,
                                   record.headers)
        except codec.Refused as refused:
            code = refused.args[0]
            status = "UNAUTHENTICATED" if code in FORGED else "INVALID_ARGUMENT"
            # A client that compressed with a dictionary asks again without, by these words.
            raise RequestError(status, f"body refused: {code}: not opened") from None

    def _answer(self, record, answer):
        answer.session, answer.sequence = record.session, record.sequence
        answer.slot, answer.generation = record.slot, record.generation
        self._link.write(answer)

    def _fail(self, record, code, reason, flags=0):
        self._answer(record, failure_of(code, reason, flags=flags))

    def _give_back(self, record):
        self._fail(record, "UNAVAILABLE", "worker is leaving", wire.UNTOUCHED)


def failure_of(code, reason, retry_after_ms=0, flags=0):
    status = STATUS.get(code, STATUS["INTERNAL"])
    return Record(kind=wire.FAILURE, status=status, attempts=0, flags=flags, reason=reason,
                  retry_after_ms=retry_after_ms)


async def main():
    import argparse, signal

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("backend")
    parser.add_argument("name")
    parser.add_argument("delay_ms", nargs="?", type=int, default=0)
    parser.add_argument("--service", default="default")
    parser.add_argument("--keys", metavar="FILE", help="the first one seals, all open")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--concurrency", type=int, default=1)
    options = parser.parse_args()

    async def echo(value, context):
        is_text = options.raw and len(value) < 100
        print("running", value.decode() if is_text else context.service, flush=True)
        await asyncio.sleep(options.delay_ms / 1000)
        if options.raw:
            return options.name.encode() + b" " + value
        return {"worker": options.name, "echo": value}

    services = {options.service: echo}
    worker = await Worker.start(
        options.backend,
        {} if options.raw else services,
        raw_services=services if options.raw else {},
        keys=codec.read_keys(options.keys) if options.keys else [],
        curve=curve_from_environment(),
        concurrency=options.concurrency,
    )
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(
        signal.SIGUSR1, lambda: worker.set_concurrency(worker.concurrency * 2))
    loop.add_signal_handler(
        signal.SIGUSR2, lambda: worker.set_concurrency(worker.concurrency // 2))
    await stop.wait()
    await worker.drain()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except RequestError as failed:
        raise SystemExit(str(failed)) from None
