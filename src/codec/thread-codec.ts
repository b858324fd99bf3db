import { NONCE_SIZE } from "./aead.js";
import type { Origin } from "./body-keys.js";
import { type CodecContext, ownContext } from "./context.js";
import { CHUNK, DICTIONARY, HEADER_SIZE, readEnvelope, steadyBytes } from "./envelope.js";
import { CodecError } from "./errors.js";
import { OpenedRequest, requireRequest } from "./opened-request.js";
import { requireBytes } from "./options.js";
import { StreamCodec } from "./stream-codec.js";
import { BodyThread, type ThreadAnswer, type ThreadOptions } from "./thread.js";

export type { CodecParts } from "./stream-codec.js";

/** The part of a codec that leaves large bodies to a thread. */
export abstract class ThreadCodec extends StreamCodec {
  #thread: BodyThread | undefined;

  /** @internal */
  abstract sealPacked(bytes: Uint8Array, context: CodecContext, origin?: Origin): Uint8Array;
  /** @internal */
  abstract unpackOwn(bytes: Uint8Array): unknown;
  abstract open(bytes: Uint8Array, context: CodecContext, isPassing?: boolean): unknown;
  abstract dictionaryNamedBy(bytes: Uint8Array): string | null;
  abstract openRequest(
    bytes: Uint8Array,
    context: CodecContext,
    isPassing?: boolean,
  ): OpenedRequest;
  /** @internal */
  abstract sealFor(value: unknown, context: CodecContext, origin: Origin | undefined): Uint8Array;

  /** Bytes of a packed value from which on sealAsync() and openAsync() use a thread. */
  get threadFrom(): number {
    return this.bulk.options.threadFrom;
  }

  /**
   * As seal(), but a value of `threadFrom` packed bytes and more is compressed and encrypted in a
   * thread. It is packed before this returns: the caller may change it then.
   *
   * @throws CodecError as seal() does; `THREAD_LOST` when the thread ended with it; `CLOSED`
   */
  async sealAsync(value: unknown, context: CodecContext): Promise<Uint8Array> {
    return this.sealSoon(value, context);
  }

  /** @internal As sealAsync(), without a promise where there is nothing to wait for. */
  sealSoon(
    value: unknown,
    context: CodecContext,
    origin?: Origin,
  ): Uint8Array | Promise<Uint8Array> {
    this.requireOpen();
    const { memory, packer, sealer, binder } = this.bulk;
    const own = binder.check(context);
    const top = memory.enter();
    try {
      const size = packer.pack(value);
      // The value's own code may have closed the codec, or changed its keys.
      this.requireOpen();
      if (!this.#isSealedInThread(size, own, origin)) return sealer.seal(size, own, origin);
      return this.#sealInThread(memory.u8.slice(top, top + size), own);
    } finally {
      memory.leave(top);
    }
  }

  /** @internal As sealSoon(), of bytes that pack() made. */
  sealPackedSoon(bytes: Uint8Array, context: CodecContext): Uint8Array | Promise<Uint8Array> {
    if (!this.#isSealedInThread(bytes.length, context)) return this.sealPacked(bytes, context);
    return this.#sealInThread(new Uint8Array(bytes), context);
  }

  /** Whether a body is large enough, and under a shared key: the thread has these alone. */
  #isSealedInThread(size: number, context: CodecContext, origin?: Origin): boolean {
    const { keys, options } = this.bulk;
    const isForThread = size >= options.threadFrom && keys.isOfRing(context, origin);
    return isForThread && this.#requireThread().isReadyFor(size);
  }

  #sealInThread(bytes: Uint8Array, context: CodecContext): Promise<Uint8Array> {
    const { keys, binder } = this.bulk;
    // A name that is none is refused here, as seal() refuses it.
    binder.targetCheckOf(context);
    const next = keys.sealing(context, null);
    const sealing = next && { id: next.id, nonce: next.nonce.slice() };
    const task = { what: "seal", bytes, context: ownContext(context), sealing } as const;
    return this.#requireThread().run(task, (answer) => {
      this.requireOpen();
      if (answer !== undefined) return bytesOf(answer);
      if (bytes.length === 0) {
        throw new CodecError("THREAD_LOST", "the codec's thread ended with the body in it");
      }
      // As the thread would have: it holds no dictionaries.
      return this.sealPacked(bytes, { ...task.context, dictionary: null }, null);
    });
  }

  /**
   * As open(), but an envelope of `threadFrom` plain bytes and more is decrypted and decompressed
   * in a thread. The bytes are copied first and stay the caller's; where the thread is lost with the copy, they
   * are opened here, as they are then.
   *
   * @throws CodecError as open() does; `CLOSED`
   */
  async openAsync(bytes: Uint8Array, context: CodecContext): Promise<unknown> {
    return this.openSoon(bytes, context);
  }

  /**
   * @internal As openAsync(), without a promise where there is nothing to wait for. What is not a
   * promise is a value: none of those that come of bytes is one. `isPassing`: the bytes are others' as soon as
   * this returns, so neither is anything lent from them, nor are they looked at again.
   */
  openSoon(bytes: Uint8Array, context: CodecContext, isPassing = false): unknown {
    if (!this.isLarge(bytes)) return this.open(bytes, context, isPassing);
    return this.#openInThread(isPassing ? new Uint8Array(bytes) : bytes, context);
  }

  /** As openRequest(), but a large body is decrypted and decompressed in a thread. */
  async openRequestAsync(bytes: Uint8Array, context: CodecContext): Promise<OpenedRequest> {
    return this.openRequestSoon(bytes, context);
  }

  /** @internal As openRequestAsync(), without a promise where there is nothing to wait for. */
  openRequestSoon(
    bytes: Uint8Array,
    context: CodecContext,
    isPassing = false,
  ): OpenedRequest | Promise<OpenedRequest> {
    if (!this.isLarge(bytes)) return this.openRequest(bytes, context, isPassing);
    this.requireOpen();
    const steady = steadyBytes(bytes);
    const own = this.bulk.binder.check(context);
    requireRequest(own);
    own.dictionary = this.dictionaryNamedBy(steady);
    const value = this.openSoon(steady, own, isPassing);
    // What the thread opens is under a shared key.
    if (value instanceof Promise) {
      return value.then((opened) => new OpenedRequest(this, opened, own, null));
    }
    const { origin } = this.bulk.opener;
    return new OpenedRequest(this, value, own, origin);
  }

  /** @internal Whether openAsync() leaves an envelope to a thread. */
  isLarge(bytes: Uint8Array): boolean {
    // By the header's plain size: it is bounded by the rest only later.
    if (!(bytes instanceof Uint8Array) || bytes.length < HEADER_SIZE) return false;
    const plainSize = bytes[4] + (bytes[5] << 8) + (bytes[6] << 16) + bytes[7] * 2 ** 24;
    return plainSize >= this.threadFrom;
  }

  #openInThread(given: Uint8Array, givenContext: CodecContext): unknown {
    this.requireOpen();
    const bytes = steadyBytes(requireBytes("bytes", given));
    const { binder, keys, options } = this.bulk;
    const context = binder.check(givenContext);
    const envelope = readEnvelope(bytes);
    const { isSealed, isCompressed, flags } = envelope;
    // What is refused at a glance is refused here, and the thread has no dictionaries.
    const isForThread =
      envelope.plainSize <= options.sizeMax &&
      (flags & CHUNK) === 0 &&
      !(isCompressed && (flags & DICTIONARY) !== 0) &&
      keys.isOpenedByRing(bytes, envelope, context);
    const thread = this.#requireThread();
    if (!isForThread || !thread.isReadyFor(bytes.length)) return this.open(bytes, context);
    const copy = new Uint8Array(bytes);
    // Key id and nonce are what there is to remember.
    const nonce = copy.slice(0, HEADER_SIZE + NONCE_SIZE);
    const task = { what: "open", bytes: copy, context: ownContext(context) } as const;
    return thread.run(task, (answer) => {
      this.requireOpen();
      // What waited has its copy still; what the thread was given is gone with it.
      if (answer === undefined) {
        return this.open(copy.length > 0 ? copy : bytes, task.context);
      }
      const isVerified = answer.code === undefined || answer.isVerified;
      if (isSealed && isVerified) keys.markOpened(nonce, null, task.context);
      const plain = bytesOf(answer);
      try {
        return this.unpackOwn(plain);
      } finally {
        plain.fill(0);
      }
    });
  }

  #requireThread(): BodyThread {
    const { ring } = this.bulk.keys;
    this.#thread ??= new BodyThread(this.#threadOptions(), () => ring.copySecrets());
    return this.#thread;
  }

  #threadOptions(): ThreadOptions {
    const { engines, keys, options } = this.bulk;
    const { isCompressing, sizeMax, compressor, engine, nativeFrom } = options;
    const parts = { isCompressing, sizeMax, compressor };
    // What was measured here holds there; without keys there was no need to.
    if (keys.ring.isEmpty) return { ...parts, engine, nativeFrom };
    const isAuto = engines.choice === "auto";
    return {
      ...parts,
      engine: engines.choice,
      nativeFrom: isAuto ? engines.nativeFrom : undefined,
    };
  }

  /** @internal The keys are others from now on. */
  protected onKeys(): void {
    this.#thread?.setKeys();
  }

  /** @internal */
  protected closeThread(): void {
    this.#thread?.close();
  }
}

function bytesOf(answer: ThreadAnswer): Uint8Array {
  if (answer.code !== undefined) throw new CodecError(answer.code, answer.reason);
  return answer.bytes;
}
