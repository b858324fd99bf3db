"""Runs the Python example on the vectors: a line of words parted by tabs in, a line of JSON out.

Bytes are hexadecimal, and so is text in the answers. What is asked for is the same as of vectors.c.
"""
import json
import struct
import sys

import lz4.block
import lz4.frame
import msgpack

sys.dont_write_bytecode = True
sys.path.insert(0, "examples/python")
import wasmq_codec as codec  # noqa: E402
import wasmq_wire as wire  # noqa: E402

NAMES = {getattr(wire, name): name for name in (
    "HELLO WELCOME ERROR CREDIT DRAIN BYE PING REQUEST REPLY FAILURE CANCEL".split())}
keys, dictionaries = [], {}


def shown(record):
    out = {"kind": NAMES[record.kind], "flags": record.flags}
    for name, value in vars(record).items():
        if name == "kind":
            continue
        if name in ("session", "broker"):
            value = f"{value:016x}"
        elif name == "sequence":
            value = str(value)
        elif name in ("service", "reason"):
            value = value.encode().hex()
        elif name == "headers":
            value = value.hex()
        elif name == "services":
            value = [each.encode().hex() for each in value]
        elif name == "body":
            value = [part.hex() for part in value]
        out[name] = value
    return out


def read(frames):
    records, bad, is_malformed = [], 0, False
    try:
        for record in wire.read([bytes.fromhex(frame) for frame in frames]):
            if record.fault is None:
                records.append(record)
            else:
                bad += 1
    except wire.Malformed:
        is_malformed = True
    return records, {"records": [*map(shown, records)], "bad": bad, "isMalformed": is_malformed}


# Of records that the library does not speak (PROTOCOL 3.6, 6, 7, 8), what can be told of each: the size of its
# fixed part, whether that begins with an id (3.1), and where it says how many frames are its own.
WALKED = {
    16: (40, True, 37), 17: (40, True, 37), 18: (40, True, None), 19: (32, True, None),
    24: (40, True, 37), 25: (48, True, None), 26: (40, True, 37),
    32: (16, False, 3), 33: (16, False, None), 34: (16, False, None), 35: (16, False, 3),
    40: (40, True, 37), 41: (40, True, None), 42: (40, True, 37), 43: (32, True, None),
    44: (40, True, None), 45: (40, True, None),
    48: (40, True, 37), 49: (40, True, 37), 50: (40, True, None),
}


def parts_end(kind, data):
    """Where the parts end whose sizes a record of tasks or surveys gives; past it is its body."""
    u16 = lambda at: int.from_bytes(data[at : at + 2], "little")  # noqa: E731
    if kind in (40, 42, 48):
        return 40 + data[36] + u16(38)
    if kind == 49:
        return 40 + u16(38)
    if kind in (41, 44, 50):
        return 40 + u16(36)
    if kind != 45:
        return 0
    end = 40 + u16(32)
    for _ in range(u16(34)):
        if end + 32 > len(data):
            return end + 32
        end += 32 + u16(end + 28)
    return end


def walk(frames):
    """The heads of all records, whatever their kinds, and what of them does not fit."""
    batch, left = frames[0], len(frames) - 1
    records, at = [], 8
    is_malformed = len(batch) < 8 or batch[:3] != b"WQ\x01" or batch[4:8] == bytes(4)
    for _ in range(0 if is_malformed else int.from_bytes(batch[4:8], "little")):
        size = int.from_bytes(batch[at + 4 : at + 8], "little")
        if len(batch) - at < 8 or not 8 <= size <= len(batch) - at:
            is_malformed = True
            break
        data, at = batch[at : at + size], at + size
        out = {"kind": data[0], "flags": data[1], "a": data[2], "frames": 0}
        records.append(out)
        fixed, has_id, count_at = WALKED.get(data[0], (8, False, None))
        out["fits"] = size >= fixed and parts_end(data[0], data) <= size
        if size < fixed:
            continue
        if has_id:
            _, session, sequence, out["slot"], out["generation"] = struct.unpack_from("<QQQII", data)
            out["session"], out["sequence"] = f"{session:016x}", str(sequence)
        if count_at is not None:
            out["frames"] = data[count_at]
        left -= out["frames"]
    is_malformed = is_malformed or at != len(batch) or left != 0
    return {"records": records, "isMalformed": is_malformed}


def run(op, *words):
    if op == "key":
        keys.append(codec.read_key(words[0]))
        return {}
    if op == "dictionary":
        dictionary = bytes.fromhex(words[0])
        dictionaries[codec.digest_of(dictionary)] = dictionary
        return {"bytes": codec.digest_of(dictionary).hex()}
    if op == "read":
        return read(words)[1]
    if op == "walk":
        return walk([bytes.fromhex(frame) for frame in words])
    if op == "rewrite":
        batch = wire.Batch()
        for record in read(words)[0]:
            batch.add(record)
        return {"frames": [frame.hex() for frame in batch.finish()]}
    if op in ("open", "seal"):
        service, direction, request_id, headers, given = words
        context = (bytes.fromhex(service).decode(), direction, bytes.fromhex(request_id),
                   bytes.fromhex(headers))
        given = bytes.fromhex(given)
        if op == "seal":
            value = msgpack.unpackb(given, timestamp=3)
            return {"bytes": codec.Sealer(*keys[0] if keys else ()).seal(value, *context).hex()}
        value = codec.open_body(given, dict(keys), *context, dictionaries)
        return {"bytes": msgpack.packb(value, datetime=True).hex()}
    if op == "repack":
        value = codec.unpack(bytes.fromhex(words[0]))
        return {"bytes": msgpack.packb(value, datetime=True).hex()}
    if op == "block":
        block, size, dictionary = bytes.fromhex(words[0]), int(words[1]), bytes.fromhex(words[2])
        return {"bytes": codec.inflate(block, size, dictionary).hex()}
    assert op == "frame"
    # One after the other, those to be skipped among them, as the standard has it.
    rest, plain = bytes.fromhex(words[0]), b""
    while rest:
        if 0x184D2A50 <= int.from_bytes(rest[:4], "little") <= 0x184D2A5F:
            rest = rest[8 + int.from_bytes(rest[4:8], "little") :]
            continue
        piece, size = lz4.frame.decompress(rest, return_bytes_read=True)
        plain, rest = plain + piece, rest[size:]
    return {"bytes": plain.hex()}


for line in sys.stdin:
    try:
        answer = run(*line.rstrip("\n").split("\t"))
    except codec.Refused as refused:
        answer = {"code": refused.args[0]}
    print(json.dumps(answer), flush=True)
