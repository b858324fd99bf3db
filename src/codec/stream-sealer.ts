import { SESSION_SIZE } from "./aead.js";
import type { BlockCompressor } from "./block.js";
import type { BodyKeys, Sealing } from "./body-keys.js";
import type { BodySealer } from "./body-sealer.js";
import type { CodecContext } from "./context.js";
import type { EngineKey } from "./engines.js";
import { CHUNK, CHUNK_FIELD_SIZE, COMPRESSED, RAW, STREAM_NAME_SIZE } from "./envelope.js";
import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";
import { LinkedBlocks } from "./linked-blocks.js";
import { isWorthCompressing } from "./probe.js";
import type { SealingHold } from "./ring.js";

/** A chunk counts as smaller when a sixteenth at least is saved. */
const SAVED_SHIFT = 4;
const INDEX_END = 2 ** 32;

/** What both ends of a stream need of a codec. */
export interface SealerParts {
  memory: LinearMemory;
  blocks: BlockCompressor;
  keys: BodyKeys;
  sealer: BodySealer;
  options: { isCompressing: boolean };
}

/** Seals the chunks of one stream, in their order. docs/codec.md has the layout. */
export class StreamSealer {
  readonly #parts: SealerParts;
  readonly #context: CodecContext;
  readonly #linked: LinkedBlocks;
  readonly #hold: SealingHold<EngineKey> | undefined;
  readonly #field = new Uint8Array(CHUNK_FIELD_SIZE);
  readonly #view = new DataView(this.#field.buffer);
  #session: Uint8Array | undefined;
  #index = 0;

  constructor(parts: SealerParts, context: CodecContext) {
    this.#parts = parts;
    this.#context = context;
    this.#linked = new LinkedBlocks(parts.memory, parts.blocks);
    if (!parts.keys.isOfRing(context, null)) {
      throw new CodecError("NO_KEY", "a stream is sealed under a shared key, not by agreement");
    }
    this.#hold = parts.keys.ring.hold();
    if (this.#hold === undefined && !parts.keys.isEmpty) {
      throw new CodecError("NO_KEY", "no key given is for a stream");
    }
    // Without a key nothing names the stream but chance; with one, chunk 0 overwrites it.
    crypto.getRandomValues(this.#field.subarray(0, STREAM_NAME_SIZE));
  }

  /** The envelope of the next chunk. */
  seal(plain: Uint8Array, isLast: boolean): Uint8Array {
    const { memory, sealer } = this.#parts;
    if (this.#index >= INDEX_END) throw new CodecError("TOO_LARGE", "a stream has 2^32 chunks");
    const sealing = this.#nextSealing();
    const top = memory.enter();
    try {
      const block = this.#squeeze(plain);
      this.#view.setUint32(STREAM_NAME_SIZE, this.#index, true);
      this.#field[STREAM_NAME_SIZE + 4] = isLast ? 1 : 0;
      const flags = RAW | CHUNK | (block === undefined ? 0 : COMPRESSED);
      const parts = { flags, plainSize: plain.length, sealing, chunk: this.#field };
      const envelope = sealer.wrap(block ?? plain, parts, this.#context);
      this.#linked.remember(plain);
      this.#index++;
      return envelope;
    } finally {
      memory.leave(top);
    }
  }

  #nextSealing(): Sealing | undefined {
    if (this.#hold === undefined) {
      if (this.#parts.keys.isEmpty) return undefined;
      throw new CodecError("UNSEALED", "the codec was given keys in the middle of a stream");
    }
    const sealing = this.#hold.next();
    if (sealing === undefined) {
      throw new CodecError("UNKNOWN_KEY", "the stream's key was left out in the middle of it");
    }
    const session = sealing.nonce.subarray(0, SESSION_SIZE);
    if (this.#session === undefined) {
      this.#session = session.slice();
      this.#field.set(sealing.nonce.subarray(SESSION_SIZE));
    } else if (!this.#session.every((byte, at) => byte === session[at])) {
      throw new CodecError("BAD_COUNTER", "the nonces' session ended in the middle of a stream");
    }
    return sealing;
  }

  #squeeze(plain: Uint8Array): Uint8Array | undefined {
    const { options, blocks } = this.#parts;
    if (!options.isCompressing) return undefined;
    // No sample says what a chunk has in common with those before it, so a linked one is tried.
    if (!this.#linked.isLinking && !isWorthCompressing(plain, blocks)) return undefined;
    const block = this.#linked.compress(plain);
    return block.length <= plain.length - (plain.length >>> SAVED_SHIFT) ? block : undefined;
  }

  /** Ends the stream, or gives it up. */
  wipe(): void {
    this.#linked.wipe();
  }
}
