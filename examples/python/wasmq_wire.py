"""wasmq's records, read and written: src/wire/PROTOCOL.md, in Python. Bytes in, values out.

    frames = Batch().add(Record(kind=HELLO, ...)).finish()     # what a ZeroMQ message is made of
    for record in read(frames): ...                            # and what it says

A Record has the fields of its kind by PROTOCOL.md's names, in snake_case; a body is a list of
parts. Nothing but the standard library.
"""
import struct
from types import SimpleNamespace

HELLO, WELCOME, ERROR, CREDIT, DRAIN, BYE, PING = range(1, 8)
REQUEST, REPLY, FAILURE, CANCEL = range(16, 20)
CLIENT, WORKER, PULSE = 1, 2, 3
RAW, REDELIVERED, UNTOUCHED = 1, 2, 4

STATUS = {
    "OK": 0, "CANCELLED": 1, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5,
    "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "ABORTED": 10, "INTERNAL": 13,
    "UNAVAILABLE": 14, "UNAUTHENTICATED": 16,
}
STATUS_NAME = {number: name for name, number in STATUS.items()}

FRAME_BYTES_MIN = 8192
HEADERS_BYTES_MAX = 8192
SEQUENCE_MAX = 2**53 - 1

# Each fixed part starts with | kind u8 | flags u8 | a u8 | b u8 | size u32 | (1.2).
HEAD = struct.Struct("<BBBBI")
BATCH = struct.Struct("<2sBBI")
FIXED = {
    HELLO: struct.Struct("<QIHH"),  # session, concurrency, serviceCount, reserved
    WELCOME: struct.Struct("<QIIQ"),  # broker, inFlightMax, recordMax, reserved
    ERROR: struct.Struct("<IHH"),  # record, reasonSize, reserved
    CREDIT: struct.Struct("<II"),  # credit, reserved
    DRAIN: struct.Struct("<Q"),
    BYE: struct.Struct("<"),
    PING: struct.Struct("<"),
    REQUEST: struct.Struct("<QQIIIBBH"),  # id, timeoutMs, serviceSize, frameCount, headersSize
    REPLY: struct.Struct("<QQIIIBBH"),  # id, serviceTimeUs, 0, frameCount, headersSize
    FAILURE: struct.Struct("<QQIIIHH"),  # id, retryAfterMs, reasonSize, 0
    CANCEL: struct.Struct("<QQII"),  # id
}


class Record(SimpleNamespace):
    """One record. One that came in and could not be read has a `fault`, which says why, and its kind."""

    fault = None
    is_opaque = False  # Too strange to say which frames are its own.
    flags = slot = generation = 0


class Malformed(Exception):
    """The message as a whole: what it holds behind the records that were read is not to be had."""


class BadRecord(Exception):
    pass


def require(condition, what):
    if not condition:
        raise BadRecord(what)


def request_id(record):
    """The 16 bytes that a body is bound to (3.1)."""
    return struct.pack("<QQ", record.session, record.sequence)


def is_service(name):
    return 1 <= len(name.encode()) <= 255 and not any(c < " " or c == "\x7f" for c in name)


def text(data):
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        raise BadRecord("text that is no UTF-8") from None


# --- writing ---


class Batch:
    """What one peer is owed at the moment: one message, one frame of records and their bodies'."""

    def __init__(self):
        self._records, self._frames = [], []

    def __bool__(self):
        return bool(self._records)

    def add(self, record):
        data, frames = encode(record)
        self._records.append(data)
        self._frames += frames
        return self

    def finish(self):
        frames = [BATCH.pack(b"WQ", 1, 0, len(self._records)) + b"".join(self._records)]
        frames += self._frames
        self._records, self._frames = [], []
        return frames


def encode(record):
    """A record's bytes in the batch, and the frames that it claims."""
    a, b, fields, tail, frames = ENCODERS[record.kind](record)
    fixed = FIXED[record.kind].pack(*fields)
    size = HEAD.size + len(fixed) + len(tail)
    return HEAD.pack(record.kind, record.flags, a, b, size) + fixed + tail, frames


def encode_headers(headers):
    parts = []
    for key, value in headers.items():
        key, value = key.encode(), value.encode()
        parts += [struct.pack("<B", len(key)), key, struct.pack("<H", len(value)), value]
    return b"".join(parts)


def id_of(record):
    return record.session, record.sequence, record.slot, record.generation


def split_body(parts):
    """(frameCount, what stands in the record, the frames): 3.1."""
    if len(parts) == 1 and len(parts[0]) < FRAME_BYTES_MIN:
        return 0, parts[0], []
    return len(parts), b"", list(parts)


def encode_hello(r):
    names = [name.encode() for name in r.services]
    tail = b"".join(struct.pack("<B", len(name)) + name for name in names)
    return r.role, r.version, (r.session, r.concurrency, len(names), 0), tail, []


def encode_welcome(r):
    fields = r.broker, r.in_flight_max, r.record_max, 0
    return r.version, 0, fields, b"", []


def encode_error(r):
    reason = r.reason.encode()
    return r.status, 0, (r.record, len(reason), 0), reason, []


def encode_request(r):
    service, (count, inline, frames) = r.service.encode(), split_body(r.body)
    fields = (*id_of(r), r.timeout_ms, len(service), count, len(r.headers))
    return r.priority, r.attempts, fields, service + r.headers + inline, frames


def encode_reply(r):
    count, inline, frames = split_body(r.body)
    fields = (*id_of(r), r.service_time_us, 0, count, len(r.headers))
    return 0, 0, fields, r.headers + inline, frames


def encode_failure(r):
    reason = r.reason.encode()[:0xFFFF]
    return r.status, r.attempts, (*id_of(r), r.retry_after_ms, len(reason), 0), reason, []


ENCODERS = {
    HELLO: encode_hello,
    WELCOME: encode_welcome,
    ERROR: encode_error,
    CREDIT: lambda r: (0, 0, (r.credit, 0), b"", []),
    DRAIN: lambda r: (0, 0, (0,), b"", []),
    BYE: lambda r: (0, 0, (), b"", []),
    PING: lambda r: (0, 0, (), b"", []),
    REQUEST: encode_request,
    REPLY: encode_reply,
    FAILURE: encode_failure,
    CANCEL: lambda r: (r.status, 0, id_of(r), b"", []),
}


# --- reading ---


def read(frames):
    """The records of a message, one after the other; Malformed ends it where the rest is none."""
    batch, rest = memoryview(frames[0]), list(frames[1:])
    if len(batch) < BATCH.size or batch[:2] != b"WQ":
        raise Malformed("no batch")
    _, version, _, count = BATCH.unpack_from(batch)
    if version != 1:
        raise Malformed(f"version {version}")
    if count == 0:
        raise Malformed("no records")
    at = BATCH.size
    for _ in range(count):
        if len(batch) - at < HEAD.size:
            raise Malformed("fewer records than counted")
        kind, flags, a, b, size = HEAD.unpack_from(batch, at)
        if not HEAD.size <= size <= len(batch) - at:
            raise Malformed(f"a record of {size} bytes")
        claimed, record = decode(kind, flags, a, b, batch[at + HEAD.size : at + size], rest)
        if claimed > len(rest):
            raise Malformed("frames claimed that are not there")
        yield record
        at += size
        del rest[:claimed]
        if record.is_opaque and rest:
            return  # It may have claimed some of them: what stands behind it cannot be told.
    if at < len(batch):
        raise Malformed("bytes behind the last record")
    if rest:
        raise Malformed("frames that no record claims")


def decode(kind, flags, a, b, data, frames):
    """How many frames it claims, and the record."""
    fixed = FIXED.get(kind)
    if fixed is None or len(data) < fixed.size:
        fault = "unknown kind" if fixed is None else "too short"
        return 0, Record(kind=kind, fault=fault, is_opaque=True)
    fields, tail = fixed.unpack_from(data), data[fixed.size :]
    claimed = fields[6] if kind in (REQUEST, REPLY) else 0
    try:
        record = DECODERS[kind](a, b, fields, tail, frames[:claimed])
    except BadRecord as bad:
        return claimed, Record(kind=kind, fault=bad.args[0])
    record.kind, record.flags = kind, flags
    return claimed, record


def with_id(fields, **others):
    session, sequence, slot, generation = fields[:4]
    require(1 <= sequence <= SEQUENCE_MAX, f"sequence {sequence}")
    return Record(session=session, sequence=sequence, slot=slot, generation=generation, **others)


def join_body(tail, at, frames):
    require(at <= len(tail), "longer than the record")
    require(not frames or at == len(tail), "a body in the record and in frames")
    return [bytes(frame) for frame in frames] or [bytes(tail[at:])]


def decode_hello(a, b, fields, tail, _):
    session, concurrency, count, _ = fields
    services, at = [], 0
    for _ in range(count):
        require(at < len(tail) and at + 1 + tail[at] <= len(tail), "services cut short")
        services.append(text(tail[at + 1 : at + 1 + tail[at]]))
        at += 1 + tail[at]
    require(at == len(tail) and all(map(is_service, services)), "bad services")
    require(a in (CLIENT, WORKER, PULSE) and b > 0 and session > 0, "role, version or session")
    is_one = 1 <= concurrency <= 65535 and count > 0 if a == WORKER else True
    require(is_one, "a worker's concurrency or services")
    return Record(role=a, version=b, session=session, concurrency=concurrency, services=services)


def decode_welcome(a, _b, fields, _tail, _):
    broker, in_flight_max, record_max = fields[:3]
    return Record(version=a, broker=broker, in_flight_max=in_flight_max, record_max=record_max)


def decode_error(a, _b, fields, tail, _):
    require(fields[1] <= len(tail), "reason cut short")
    return Record(status=a, record=fields[0], reason=text(tail[: fields[1]]))


def decode_credit(_a, _b, fields, _tail, _):
    require(fields[0] > 0, "credit 0")
    return Record(credit=fields[0])


def decode_request(a, b, fields, tail, frames):
    timeout_ms, service_size, _, headers_size = fields[4:]
    require(service_size + headers_size <= len(tail), "longer than the record")
    service = text(tail[:service_size])
    headers = bytes(tail[service_size : service_size + headers_size])
    require(is_service(service) and headers_size <= HEADERS_BYTES_MAX, "service or headers")
    require(a <= 7, f"priority {a}")
    body = join_body(tail, service_size + headers_size, frames)
    return with_id(fields, priority=a, attempts=b, timeout_ms=timeout_ms, service=service,
                   headers=headers, body=body)


def decode_reply(_a, _b, fields, tail, frames):
    service_time_us, _, _, headers_size = fields[4:]
    require(headers_size <= HEADERS_BYTES_MAX, "headers")
    body = join_body(tail, headers_size, frames)
    return with_id(fields, service_time_us=service_time_us, headers=bytes(tail[:headers_size]),
                   body=body)


def decode_failure(a, b, fields, tail, _):
    retry_after_ms, reason_size, _ = fields[4:]
    require(a in STATUS_NAME and a != 0, f"status {a}")
    require(reason_size <= len(tail), "reason cut short")
    return with_id(fields, status=a, attempts=b, retry_after_ms=retry_after_ms,
                   reason=text(tail[:reason_size]))


DECODERS = {
    HELLO: decode_hello,
    WELCOME: decode_welcome,
    ERROR: decode_error,
    CREDIT: decode_credit,
    DRAIN: lambda *_: Record(),
    BYE: lambda *_: Record(),
    PING: lambda *_: Record(),
    REQUEST: decode_request,
    REPLY: decode_reply,
    FAILURE: decode_failure,
    CANCEL: lambda a, b, fields, *_: with_id(fields, status=a),
}
