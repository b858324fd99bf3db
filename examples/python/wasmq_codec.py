"""Opens and seals wasmq bodies with stock libraries: PyNaCl, msgpack, lz4. See docs/codec.md."""
import base64, struct, zlib
import lz4.block, msgpack
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt,
)
from nacl.encoding import RawEncoder
from nacl.exceptions import CryptoError
from nacl.hash import blake2b
from nacl.utils import random

COMPRESSED, SEALED, DICTIONARY = 1, 2, 8
SIZE_MAX = 16 * 1024 * 1024

class Refused(Exception):
    """args[0] is the code, as in the table of docs/codec.md 2."""

def require(condition, code):
    if not condition:
        raise Refused(code)

def read_key(text):
    prefix, key_id, secret = text.strip().split(".")
    secret = base64.urlsafe_b64decode(secret + "=")
    digest = blake2b(b"wasmq-key-id-1" + secret, digest_size=32, encoder=RawEncoder)
    own_id = struct.unpack_from("<I", digest)[0] or 1
    is_whole = prefix == "wasmq-key-1" and len(secret) == 32 and own_id == int(key_id, 16)
    require(is_whole, "KEY_INVALID")
    return own_id, secret

def target_of(service, direction):
    name = service.encode()
    return struct.pack("<BH", {"request": 1, "reply": 2, "event": 3}[direction], len(name)) + name

def digest_of(dictionary):  # for `dictionaries` below: {digest_of(some): some}
    digest = blake2b(b"wasmq-dictionary-1" + dictionary, digest_size=32, encoder=RawEncoder)
    return digest[:8]

def open_body(envelope, keys, service, direction, request_id, headers=b"", dictionaries={}):
    require(envelope, "TRUNCATED")
    require(envelope[0] == 1, "BAD_VERSION")
    require(len(envelope) >= 20, "TRUNCATED")
    _, flags, reserved, size, target_check, request_check, key_id = struct.unpack_from(
        "<BBHIIII", envelope)
    require(not flags & ~(COMPRESSED | SEALED | DICTIONARY) and not reserved, "BAD_FLAGS")
    require(bool(flags & SEALED) == (key_id != 0), "BAD_FLAGS")
    fields_at, tag_size = (44, 16) if flags & SEALED else (20, 0)
    payload_at = fields_at + (8 if flags & DICTIONARY else 0)
    body_size = len(envelope) - payload_at - tag_size
    require(body_size >= 0, "TRUNCATED")
    require(size <= SIZE_MAX, "TOO_LARGE")
    fits = body_size <= size + -(-size // 255) + 16 if flags & COMPRESSED else body_size == size
    require(fits, "SIZE_MISMATCH")
    require(flags & SEALED or not keys, "UNSEALED")
    require(not flags & SEALED or key_id in keys, "UNKNOWN_KEY")
    target = target_of(service, direction)
    require(zlib.crc32(target) == target_check, "REDIRECTED")
    require(zlib.crc32(request_id) == request_check, "SWAPPED")
    fields, body = envelope[fields_at:payload_at], envelope[payload_at:]
    if flags & SEALED:
        associated = (envelope[:20] + fields + target + request_id
                      + struct.pack("<I", len(headers)) + headers)
        try:
            body = decrypt(body, associated, envelope[20:44], keys[key_id])
        except CryptoError:
            raise Refused("TAMPERED")
        require(struct.unpack_from("<Q", envelope, 36)[0] < 2 ** 48, "BAD_COUNTER")
    if not flags & COMPRESSED:
        return unpack(body)
    require(not fields or fields in dictionaries, "UNKNOWN_DICTIONARY")
    return unpack(inflate(body, size, dictionaries[fields] if fields else b""))

def inflate(block, size, dictionary):
    try:
        plain = lz4.block.decompress(block, uncompressed_size=size, dict=dictionary)
    except lz4.block.LZ4BlockError:
        raise Refused("BAD_BLOCK")
    require(len(plain) == size, "SIZE_MISMATCH")
    return plain

def unpack(body):
    try:
        return msgpack.unpackb(body, timestamp=3, strict_map_key=False, unicode_errors="replace")
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused("NOT_MESSAGEPACK") from error

class Sealer:
    """One sender. Each message takes a nonce of its own, each Sealer a session of its own.

    Without a key bodies go in clear, in the same envelope."""
    def __init__(self, key_id=0, secret=None):
        self.key_id, self.secret, self.session, self.counter = key_id, secret, random(16), 0

    def seal(self, value, service, direction, request_id, headers=b""):
        packed, target = msgpack.packb(value, datetime=True), target_of(service, direction)
        block = lz4.block.compress(packed, store_size=False) if len(packed) >= 128 else packed
        flags, body = (COMPRESSED, block) if len(block) < len(packed) else (0, packed)
        flags |= SEALED if self.secret else 0
        header = struct.pack("<BBHIIII", 1, flags, 0, len(packed), zlib.crc32(target),
                             zlib.crc32(request_id), self.key_id)
        if not self.secret:
            return header + body
        nonce = self.session + struct.pack("<Q", self.counter)
        self.counter += 1
        associated = header + target + request_id + struct.pack("<I", len(headers)) + headers
        return header + nonce + encrypt(body, associated, nonce, self.secret)

# The command line: one body on standard input, one on standard output.

def read_keys(path):
    """The keys of a file, one a line; # begins a comment."""
    with open(path) as file:
        tokens = [line.split("#")[0].strip() for line in file]
    return [read_key(token) for token in tokens if token]

def main():
    import argparse, json, sys
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["open", "seal"],
                        help="open: an envelope to JSON; seal: JSON to an envelope")
    parser.add_argument("--keys", required=True, metavar="FILE",
                        help="a key a line, as `wasmq keys new` writes it; the first one seals")
    parser.add_argument("--service", required=True)
    parser.add_argument("--direction", choices=["request", "reply", "event"], default="request")
    parser.add_argument("--id", required=True, type=bytes.fromhex, metavar="HEX",
                        help="the request's id, 16 bytes")
    parser.add_argument("--headers", type=bytes.fromhex, default=b"", metavar="HEX",
                        help="the headers beside the body, as their bytes")
    options = parser.parse_args()
    if len(options.id) != 16:
        parser.error(f"--id must be 16 bytes, got {len(options.id)}")
    context = options.service, options.direction, options.id, options.headers
    try:
        keys = read_keys(options.keys)
        if not keys:
            parser.error(f"--keys: {options.keys} holds no key")
        if options.action == "open":
            value = open_body(sys.stdin.buffer.read(), dict(keys), *context)
            as_text = lambda other: other.hex() if isinstance(other, bytes) else str(other)
            print(json.dumps(value, default=as_text, ensure_ascii=False))
        else:
            sys.stdout.buffer.write(Sealer(*keys[0]).seal(json.load(sys.stdin), *context))
    except Refused as refusal:
        sys.exit(f"refused: {refusal.args[0]}")

if __name__ == "__main__":
    main()
