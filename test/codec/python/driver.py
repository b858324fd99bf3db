"""Runs the example for the suite: a JSON object a line in, one a line out.

{"op": "open" | "seal", "service", "direction", "id": hex, "headers": hex, "bytes": hex,
"dictionary": hex}: for open
the bytes are an envelope, for seal MessagePack. The answer is {"bytes": hex}, the value packed again
or the envelope, or {"code": ...}. argv: the example's folder, then keys.
"""
import json
import sys

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True

import msgpack  # noqa: E402
import wasmq_codec  # noqa: E402

keys = [wasmq_codec.read_key(text) for text in sys.argv[2:]]
sealer = wasmq_codec.Sealer(*keys[0])


def answer(job):
    context = (
        job["service"],
        job["direction"],
        bytes.fromhex(job["id"]),
        bytes.fromhex(job["headers"]),
    )
    given = bytes.fromhex(job["bytes"])
    if job["op"] == "seal":
        return sealer.seal(msgpack.unpackb(given, timestamp=3), *context)
    dictionary = bytes.fromhex(job["dictionary"])
    dictionaries = {wasmq_codec.digest_of(dictionary): dictionary}
    value = wasmq_codec.open_body(given, dict(keys), *context, dictionaries)
    return msgpack.packb(value, datetime=True)


for line in sys.stdin:
    try:
        result = {"bytes": answer(json.loads(line)).hex()}
    except wasmq_codec.Refused as refusal:
        result = {"code": refusal.args[0]}
    print(json.dumps(result), flush=True)
