/**
 * Why the codec refused. One code per cause:
 *
 * Bodies that may not be believed (the first three are hints, see docs/codec.md):
 * - `UNKNOWN_KEY` sealed under a key that is not held, or not for bodies of this service
 * - `REDIRECTED` made for another service, or for the other direction
 * - `SWAPPED` made for another request
 * - `TAMPERED` the tag does not verify: bytes, header, context or headers differ from the sealed
 * - `REPLAYED` opened before
 * - `STALE` older than the replay window reaches back
 * - `BAD_COUNTER` sealed with a nonce whose counter is 2^48 or more
 * - `BAD_AGREEMENT` agreed on with a public key that is none, or with a nonce that is not its own
 * - `UNKNOWN_DICTIONARY` compressed with a dictionary that is not held
 * - `UNSEALED` not sealed, though this codec holds keys
 *
 * Bytes that are not what they should be:
 * - `TRUNCATED`, `TRAILING_BYTES` too few bytes, too many
 * - `BAD_VERSION`, `BAD_FLAGS` an envelope of another version, or with reserved bits set
 * - `SIZE_MISMATCH` the plain size claimed is not the size found
 * - `TOO_LARGE` a size beyond a limit, claimed or real
 * - `TOO_DEEP` nested deeper than `depthMax`
 * - `RESERVED_BYTE`, `BAD_KEY`, `BAD_TIMESTAMP` MessagePack that has no meaning, or none in JS
 * - `BAD_BLOCK`, `BAD_FRAME` not an LZ4 block, not an LZ4 frame
 *
 * Chunks of a stream:
 * - `OUT_OF_ORDER` lost, doubled or reordered
 * - `OTHER_STREAM` of another stream than the chunks before
 *
 * Values that cannot be packed:
 * - `UNENCODABLE` a function, symbol, Error, Promise, Set, invalid Date ...
 * - `CYCLIC` an object within itself
 * - `INT_RANGE` a BigInt outside -2^63 .. 2^64-1
 *
 * And: `NO_KEY` a body that no key given is for; `KEY_INVALID` text that is no key;
 * `DICTIONARY_INVALID` bytes that are no dictionary, or not the one that was meant; `CLOSED` the
 * codec was closed; `OUT_OF_MEMORY`; `THREAD_LOST` the thread of large bodies ended with this one in
 * it.
 */
export type CodecErrorCode =
  | "UNKNOWN_KEY"
  | "REDIRECTED"
  | "SWAPPED"
  | "TAMPERED"
  | "REPLAYED"
  | "STALE"
  | "BAD_COUNTER"
  | "BAD_AGREEMENT"
  | "UNKNOWN_DICTIONARY"
  | "UNSEALED"
  | "TRUNCATED"
  | "TRAILING_BYTES"
  | "BAD_VERSION"
  | "BAD_FLAGS"
  | "SIZE_MISMATCH"
  | "TOO_LARGE"
  | "TOO_DEEP"
  | "RESERVED_BYTE"
  | "BAD_KEY"
  | "BAD_TIMESTAMP"
  | "BAD_BLOCK"
  | "BAD_FRAME"
  | "OUT_OF_ORDER"
  | "OTHER_STREAM"
  | "UNENCODABLE"
  | "CYCLIC"
  | "INT_RANGE"
  | "NO_KEY"
  | "KEY_INVALID"
  | "DICTIONARY_INVALID"
  | "CLOSED"
  | "THREAD_LOST"
  | "OUT_OF_MEMORY";

/**
 * The one error for bytes, values and keys that the codec refuses. A wrong argument of the
 * caller's own, such as an option out of range, is a TypeError or a RangeError instead.
 */
export class CodecError extends Error {
  override readonly name = "CodecError";
  /** The cause, see {@link CodecErrorCode}. */
  readonly code: CodecErrorCode;

  constructor(code: CodecErrorCode, reason: string) {
    super(`${code}: ${reason}`);
    this.code = code;
  }
}
