"""A native client in Python, on asyncio: many requests at once, in batches, over one connection.

    client = await Client.connect("tcp://127.0.0.1:5559", keys=[read_key(text)])
    reply = await client.request("orders.price", {"sku": "A1"}, timeout=0.5)

As a program (Debian: python3-zmq python3-nacl python3-lz4 python3-msgpack), bodies are JSON:

    python3 examples/python/wasmq_client.py --keys app.key --service orders.price \\
        tcp://127.0.0.1:5559 '{"sku": "A1"}'

--raw asks in bytes as they are, for plain workers; without --keys bodies go in clear. The connection
is under CURVE where WASMQ_CURVE_PUBLIC_KEY, .._SECRET_KEY and .._SERVER_KEY are set.
"""
import asyncio
import collections
import itertools
import random
import secrets
import time

import wasmq_codec as codec
import wasmq_wire as wire
from wasmq_link import Link, curve_from_environment
from wasmq_wire import STATUS, STATUS_NAME, Record

RETRIES_MAX = 8
RETRY_S_MIN, RETRY_S_MAX = 0.02, 2.0


class RequestError(Exception):
    """How a request failed: `code`, one of gRPC's status names, and `reason`."""

    def __init__(self, code, reason, retry_after_ms=0):
        super().__init__(f"{code}: {reason}")
        self.code, self.reason, self.retry_after_ms = code, reason, retry_after_ms


class Pending:
    """A request without an outcome yet, with the bytes that it may have to be sent again in."""

    def __init__(self, record, deadline):
        self.record, self.deadline = record, deadline
        self.outcome = asyncio.get_running_loop().create_future()
        self.is_in_flight = False
        self.retries = 0


class Client:
    @classmethod
    async def connect(cls, endpoints, timeout=5.0, **options):
        """Resolves when a broker has taken it; raises RequestError UNAVAILABLE otherwise."""
        client = cls(endpoints, **options)
        try:
            await asyncio.wait_for(client._is_welcome.wait(), timeout)
        except asyncio.TimeoutError:
            await client.close()
            raise RequestError("UNAVAILABLE", client._link.last_reason) from None
        return client

    def __init__(self, endpoints, keys=(), curve=None, pending_max=4096):
        self._keys = dict(keys)
        self._sealer = codec.Sealer(*keys[0]) if keys else codec.Sealer()
        self._session = secrets.randbits(64) or 1
        self._sequences = itertools.count(1)
        self._pending = {}  # By sequence.
        self._unsent = collections.deque()
        self._pending_max, self._in_flight, self._credit = pending_max, 0, 0
        self._is_draining = False
        self._is_welcome = asyncio.Event()
        self._link = Link(endpoints, self, curve)

    async def close(self):
        """What is pending fails as UNAVAILABLE."""
        for pending in self._pending.values():
            self._fail(pending, RequestError("UNAVAILABLE", "client closed"))
        await self._link.close()

    async def request(self, service, body, *, timeout=30.0, attempts=3, priority=4, headers=None,
                      raw=False):
        """The reply's value, or bytes where `raw`. Raises RequestError. Cancelling it cancels."""
        if len(self._pending) >= self._pending_max:
            raise RequestError("RESOURCE_EXHAUSTED", f"{self._pending_max} requests pending")
        record = Record(
            kind=wire.REQUEST, session=self._session, sequence=next(self._sequences),
            priority=priority, attempts=attempts, service=service,
            headers=wire.encode_headers(headers or {}), flags=wire.RAW if raw else 0)
        if not wire.is_service(service) or len(record.headers) > wire.HEADERS_BYTES_MAX:
            raise RequestError("INVALID_ARGUMENT", f"no service, or headers too large: {service!r}")
        request_id = wire.request_id(record)
        if not raw:
            body = self._sealer.seal(body, service, "request", request_id, record.headers)
        record.body = [body]
        pending = self._pending[record.sequence] = Pending(record, time.monotonic() + timeout)
        self._unsent.append(pending)
        self._send_unsent()
        try:
            reply = await asyncio.wait_for(pending.outcome, timeout)
        except asyncio.TimeoutError:
            # The broker has the same deadline, so there is nothing to tell it.
            raise RequestError("DEADLINE_EXCEEDED", "without an answer") from None
        except asyncio.CancelledError:
            self._cancel(pending)
            raise
        finally:
            del self._pending[record.sequence]
            self._leave_broker(pending)
        return self._open(reply, service, request_id, raw)

    def _open(self, reply, service, request_id, raw):
        body = b"".join(reply.body)
        if raw:
            return body
        if reply.flags & wire.RAW:
            raise RequestError("INTERNAL", "the service answers in raw bytes")
        try:
            return codec.open_body(body, self._keys, service, "reply", request_id)
        except codec.Refused as refused:
            raise RequestError("UNAUTHENTICATED", f"reply refused: {refused.args[0]}") from None

    def _send_unsent(self):
        while self._unsent and self._link.is_up and not self._is_draining:
            if self._in_flight >= self._credit:
                return
            pending = self._unsent.popleft()
            if pending.outcome.done():
                continue
            left = pending.deadline - time.monotonic()
            pending.record.timeout_ms = min(max(int(left * 1000), 1), 0xFFFFFFFF)
            if len(pending.record.body[0]) > self._record_max - wire.FRAME_BYTES_MIN * 2:
                # Far beyond it the broker's socket would drop the connection and all that is on it.
                self._fail(pending, RequestError("INVALID_ARGUMENT", "too large for the broker"))
                continue
            pending.is_in_flight = True
            self._in_flight += 1
            self._link.write(pending.record)

    def _cancel(self, pending):
        if pending.is_in_flight and self._link.is_up:
            record = pending.record
            self._link.write(Record(kind=wire.CANCEL, session=record.session,
                                    sequence=record.sequence, status=STATUS["CANCELLED"]))

    def _leave_broker(self, pending):
        if pending.is_in_flight:
            pending.is_in_flight = False
            self._in_flight -= 1
            self._send_unsent()

    def _fail(self, pending, error):
        if not pending.outcome.done():
            pending.outcome.set_exception(error)

    # --- what the link tells ---

    def hello(self):
        self._is_draining = False
        return Record(kind=wire.HELLO, role=wire.CLIENT, version=1, session=self._session,
                      concurrency=0, services=[])

    def on_up(self, welcome):
        self._credit, self._record_max = welcome.in_flight_max, welcome.record_max
        self._is_welcome.set()
        self._send_unsent()

    def on_down(self, reason):
        for pending in list(self._pending.values()):
            if not pending.is_in_flight:
                continue
            pending.is_in_flight = False
            # It may have run, so one attempt is counted.
            pending.record.attempts -= 1
            if pending.record.attempts == 0:
                self._fail(pending, RequestError("UNAVAILABLE", f"broker lost: {reason}"))
            else:
                self._unsent.append(pending)
        self._in_flight = 0

    def on_record(self, record):
        if record.kind == wire.CREDIT:
            self._credit = record.credit
            self._send_unsent()
        elif record.kind == wire.DRAIN:
            self._is_draining = True
        elif record.kind in (wire.REPLY, wire.FAILURE) and record.session == self._session:
            pending = self._pending.get(record.sequence)
            if pending is not None and pending.is_in_flight:
                self._on_answer(pending, record)
        if self._is_draining and self._in_flight == 0:
            self._link.reset("the broker drains")

    def _on_answer(self, pending, answer):
        self._leave_broker(pending)
        if answer.kind == wire.REPLY:
            if not pending.outcome.done():
                pending.outcome.set_result(answer)
        elif not self._is_retried(pending, answer):
            code = STATUS_NAME[answer.status]
            error = RequestError(code, answer.reason, answer.retry_after_ms)
            self._fail(pending, error)

    def _is_retried(self, pending, failure):
        """What no worker began goes again, under the same id and with the same body, in a while."""
        is_refusal = failure.status in (STATUS["UNAVAILABLE"], STATUS["RESOURCE_EXHAUSTED"])
        if not failure.flags & wire.UNTOUCHED or not is_refusal or pending.retries >= RETRIES_MAX:
            return False
        pause = min(RETRY_S_MIN * 2**pending.retries, RETRY_S_MAX) * random.uniform(0.5, 1)
        pause = 0 if self._is_draining else pause + failure.retry_after_ms / 1000
        if time.monotonic() + pause >= pending.deadline:
            return False
        pending.retries += 1
        asyncio.get_running_loop().call_later(pause, self._ask_again, pending)
        return True

    def _ask_again(self, pending):
        if not pending.outcome.done():
            self._unsent.append(pending)
            self._send_unsent()


async def main():
    import argparse, json, sys

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("frontend")
    parser.add_argument("bodies", nargs="+", metavar="BODY")
    parser.add_argument("--service", default="default")
    parser.add_argument("--keys", metavar="FILE", help="the first one seals, all open")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")
    options = parser.parse_args()
    keys = codec.read_keys(options.keys) if options.keys else []
    client = await Client.connect(options.frontend, keys=keys, curve=curve_from_environment())
    ask = lambda body: client.request(options.service, body, timeout=options.timeout,
                                      raw=options.raw)
    bodies = [body.encode() if options.raw else json.loads(body) for body in options.bodies]
    # All at once: they travel as one batch.
    outcomes = await asyncio.gather(*map(ask, bodies), return_exceptions=True)
    await client.close()
    for outcome in outcomes:
        if isinstance(outcome, RequestError):
            print(outcome, file=sys.stderr)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            line = outcome if options.raw else json.dumps(outcome, ensure_ascii=False).encode()
            sys.stdout.buffer.write(line + b"\n")
    sys.exit(any(isinstance(outcome, RequestError) for outcome in outcomes))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except RequestError as failed:
        raise SystemExit(str(failed)) from None
