"""A connection to a broker that comes back: HELLO, WELCOME, batches (PROTOCOL.md 2), on asyncio.

Shared by wasmq_client.py and wasmq_worker.py. Needs pyzmq (Debian: python3-zmq).
"""
import asyncio
import itertools
import os
import random

import zmq
import zmq.asyncio

import wasmq_wire as wire
from wasmq_wire import Record

HANDSHAKE_MS = 5000
HEARTBEAT_IVL_MS, HEARTBEAT_TIMEOUT_MS = 500, 1500
RECONNECT_S_MIN, RECONNECT_S_MAX = 0.02, 1.0
# libzmq shall not connect again by itself: what was queued for the lost connection would arrive on
# the new one, in front of HELLO. Not -1: it then drops what had come in.
RECONNECT_IVL_MS = 3_600_000
LOST = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
LOST |= zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH


def curve_from_environment():
    """The keys of the three variables below, in Z85, as bytes; None without them."""
    names = [f"WASMQ_CURVE_{name}_KEY" for name in ("PUBLIC", "SECRET", "SERVER")]
    keys = [os.environ[name].encode() for name in names if name in os.environ]
    if keys and len(keys) != len(names):
        raise SystemExit(f"{', '.join(names)} are needed together")
    return keys or None


class Lost(Exception):
    """The connection, and all that was under way on it."""


class Link:
    """One connection at a time, to the first of `endpoints` that takes us.

    `owner` has hello() -> Record, on_up(welcome), on_record(record) and on_down(reason). `curve` are
    our own public key and secret key and the broker's public key, each in Z85.
    """

    def __init__(self, endpoints, owner, curve=None):
        self.is_up = False
        self.last_reason = "did not answer"
        self._endpoints = itertools.cycle([endpoints] if isinstance(endpoints, str) else endpoints)
        self._owner, self._curve = owner, curve
        self._context = zmq.asyncio.Context()
        self._socket = None
        self._batch = wire.Batch()
        self._is_flush_due = self._is_closed = False
        self._failures = 0
        self._task = asyncio.ensure_future(self._run())

    def write(self, record):
        """Sends it, with all that is written in this turn of the event loop, as one message."""
        self._batch.add(record)
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def reset(self, reason):
        """Gives up a connection that is of no use; another one follows."""
        raise Lost(reason)

    async def close(self):
        """Says BYE. Nothing is told to the owner any more."""
        self._is_closed = True
        if self._socket is not None:
            self._batch.add(Record(kind=wire.BYE))
            self._flush()
            self._socket.close(linger=200)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(None, self._context.term)

    def _flush(self):
        self._is_flush_due = False
        if self._batch and self._socket is not None:
            # Never waits: the socket has no mark, and its owner bounds what may be under way.
            self._socket.send_multipart(self._batch.finish(), zmq.DONTWAIT)

    async def _run(self):
        for endpoint in self._endpoints:
            reason = await self._connection(endpoint)
            self.is_up = False
            self.last_reason = reason
            self._batch = wire.Batch()
            self._owner.on_down(reason)
            pause = min(RECONNECT_S_MIN * 2**self._failures, RECONNECT_S_MAX)
            self._failures = min(self._failures + 1, 16)
            await asyncio.sleep(pause * random.uniform(0.5, 1))

    async def _connection(self, endpoint):
        """Lives as long as one connection; returns why that ended."""
        socket = self._socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0
        socket.reconnect_ivl = RECONNECT_IVL_MS
        socket.heartbeat_ivl = HEARTBEAT_IVL_MS
        socket.heartbeat_timeout = socket.heartbeat_ttl = HEARTBEAT_TIMEOUT_MS
        if self._curve is not None:
            socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = self._curve
        monitor = socket.get_monitor_socket(LOST)
        try:
            socket.connect(endpoint)
            self.write(self._owner.hello())
            return await self._receive(socket, monitor)
        except (Lost, wire.Malformed, zmq.ZMQError) as error:
            return str(error)
        finally:
            self._socket = None
            monitor.close()
            if not self._is_closed:
                socket.close()

    async def _receive(self, socket, monitor):
        poller = zmq.asyncio.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        while True:
            ready = dict(await poller.poll(None if self.is_up else HANDSHAKE_MS))
            # First, also where the connection has ended: a broker that drains sends its last
            # replies and closes, and the notice overtakes them.
            while await socket.poll(0):
                for record in wire.read(await socket.recv_multipart()):
                    self._on_record(record)
            if monitor in ready:
                return "connection lost" if self.is_up else "no connection"
            if not ready and not self.is_up:
                return "no WELCOME in time"

    def _on_record(self, record):
        if record.fault is not None or record.kind == wire.PING:
            return
        if record.kind == wire.WELCOME:
            if not self.is_up:
                self.is_up, self._failures = True, 0
                self._owner.on_up(record)
        elif record.kind == wire.ERROR:
            name = wire.STATUS_NAME.get(record.status, record.status)
            # It does not know this connection, or will have none of it: begin again.
            if record.status == wire.STATUS["UNAUTHENTICATED"] or not self.is_up:
                self.reset(f"{name}: {record.reason}")
        else:
            self._owner.on_record(record)
