# Writes dictionary.json: LZ4 blocks that refer to a dictionary, made by liblz4 (the lz4 package of
# Python), and digests by hashlib, none of it with the codec's code. python3 make-dictionary.py
import hashlib
import json
import pathlib
import random

import lz4.block

random.seed(20261122)
WORDS = "order customer quantity price currency shipping carrier express SKU EUR Uppsala".split()


def text(count):
    return " ".join(random.choice(WORDS) for _ in range(count)).encode()


def digest(dictionary):
    hashed = hashlib.blake2b(b"wasmq-dictionary-1" + dictionary, digest_size=32).digest()
    return format(int.from_bytes(hashed[:8], "little"), "016x")


def case(name, dictionary, plain, mode="default"):
    block = lz4.block.compress(plain, dict=dictionary, store_size=False, mode=mode)
    opened = lz4.block.decompress(block, uncompressed_size=len(plain), dict=dictionary)
    assert opened == plain
    return {"name": name, "dictionary": dictionary.hex(), "digest": digest(dictionary),
            "plain": plain.hex(), "block": block.hex()}


small, large = text(40), text(600)
noise = random.randbytes(300)
cases = [
    case("text of the dictionary's words", small, text(30)),
    case("the dictionary itself", large, large),
    case("its last bytes, and on", small, small[-20:] * 8),
    case("nothing of it", small, noise),
    case("noise of it, in another order", noise, noise[150:] + b"|" + noise[:150]),
    case("the least dictionary", b"currency", b"currency: EUR, currency: SEK, currency"),
    case("high compression", large, text(60), "high_compression"),
]
path = pathlib.Path(__file__).with_name("dictionary.json")
path.write_text(json.dumps(cases, indent=1) + "\n")
