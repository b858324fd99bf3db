"""Runs the Python example on the vectors: a line of words parted by tabs in, a line of JSON out.

Bytes are hexadecimal, and so is text in the answers. What is asked for is the same as of vectors.c.
"""
import json
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
