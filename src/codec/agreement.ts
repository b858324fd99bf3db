import { copySecret } from "./aead.js";
import { allocate, release, type SodiumExports } from "./sodium.js";

// libsodium's crypto_kx: q = X25519(own secret, other's public key), then BLAKE2b-512 over q, the
// client's and the service's public key. Its halves are two keys, one for each direction.
//
//   | q 32 B | client's public key 32 B | service's public key 32 B | -> | reply key | request key |

const SIZE = 32;

/** The keys of the two directions, which whoever gets them wipes. */
export interface AgreedKeys {
  request: Uint8Array;
  reply: Uint8Array;
}

/** Runs with `count` places of 32 bytes in libsodium's heap, wiped afterwards. */
function withPlaces<T>(sodium: SodiumExports, count: number, run: (at: number) => T): T {
  const at = allocate(sodium, count * SIZE);
  try {
    return run(at);
  } finally {
    release(sodium, at, count * SIZE);
  }
}

function bytesAt(sodium: SodiumExports, at: number): Uint8Array {
  return copySecret(sodium.HEAPU8.subarray(at, at + SIZE));
}

/** The public key of a secret. */
export function publicKeyOf(sodium: SodiumExports, secret: Uint8Array): Uint8Array {
  return withPlaces(sodium, 2, (at) => {
    sodium.HEAPU8.set(secret, at + SIZE);
    sodium._crypto_scalarmult_base(at, at + SIZE);
    return bytesAt(sodium, at);
  });
}

/** Whether every secret agrees on the same with it: a point of small order (RFC 7748, 6.1). */
export function isWeakPublicKey(sodium: SodiumExports, publicKey: Uint8Array): boolean {
  return withPlaces(sodium, 3, (at) => {
    // Any secret does: they are multiples of 8, and so of the order of each of these points.
    sodium.HEAPU8.fill(1, at + SIZE, at + 2 * SIZE);
    sodium.HEAPU8.set(publicKey, at + 2 * SIZE);
    return sodium._crypto_scalarmult(at, at + SIZE, at + 2 * SIZE) !== 0;
  });
}

/** A client's part: a new key pair, whose secret ends here, and what it agrees on. */
export function agreeAsClient(
  sodium: SodiumExports,
  servicePublicKey: Uint8Array,
): AgreedKeys & { publicKey: Uint8Array } {
  return withPlaces(sodium, 5, (at) => {
    const [publicAt, secretAt, serviceAt, receiveAt, sendAt] = placesFrom(at);
    sodium._crypto_kx_keypair(publicAt, secretAt);
    sodium.HEAPU8.set(servicePublicKey, serviceAt);
    const status = sodium._crypto_kx_client_session_keys(
      receiveAt,
      sendAt,
      publicAt,
      secretAt,
      serviceAt,
    );
    // A PublicKey is no point of small order, which is the one thing that fails here.
    if (status !== 0) throw new Error("crypto_kx refused a public key that was checked");
    return {
      publicKey: bytesAt(sodium, publicAt),
      request: bytesAt(sodium, sendAt),
      reply: bytesAt(sodium, receiveAt),
    };
  });
}

/** The service's part; undefined when the client's public key is a point of small order. */
export function agreeAsService(
  sodium: SodiumExports,
  own: { publicKey: Uint8Array; secret: Uint8Array },
  clientPublicKey: Uint8Array,
): AgreedKeys | undefined {
  return withPlaces(sodium, 5, (at) => {
    const [publicAt, secretAt, clientAt, receiveAt, sendAt] = placesFrom(at);
    sodium.HEAPU8.set(own.publicKey, publicAt);
    sodium.HEAPU8.set(own.secret, secretAt);
    sodium.HEAPU8.set(clientPublicKey, clientAt);
    const status = sodium._crypto_kx_server_session_keys(
      receiveAt,
      sendAt,
      publicAt,
      secretAt,
      clientAt,
    );
    if (status !== 0) return undefined;
    return { request: bytesAt(sodium, receiveAt), reply: bytesAt(sodium, sendAt) };
  });
}

function placesFrom(at: number): number[] {
  return [at, at + SIZE, at + 2 * SIZE, at + 3 * SIZE, at + 4 * SIZE];
}
