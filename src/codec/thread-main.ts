import { SECRET_SIZE } from "./aead.js";
import { enterThread, loadCodecModule, loadNativeCrypto } from "./assets.js";
import type { OpeningKeys, Sealing, SealingKeys } from "./body-keys.js";
import { BodyOpener } from "./body-opener.js";
import { BodySealer } from "./body-sealer.js";
import { ContextBinder } from "./context.js";
import { DictionaryShelf } from "./dictionary-shelf.js";
import { type EngineKey, Engines } from "./engines.js";
import { type Envelope, readEnvelope } from "./envelope.js";
import { CodecError } from "./errors.js";
import { idTextOf } from "./key-text.js";
import { CodecKey } from "./keys.js";
import { LinearMemory } from "./linear-memory.js";
import { Lz4Assembly } from "./lz4-assembly.js";
import { Lz4Wasm } from "./lz4-wasm.js";
import { KeyRing } from "./ring.js";
import { loadSodium } from "./sodium.js";
import type { ThreadAnswer, ThreadOptions, ThreadTask } from "./thread.js";

// What a codec's thread runs: packed bytes to envelopes and back, with the codec's own sealer and
// opener. Nonces and replay memory stay with the codec: a nonce must have one counter, and what was
// opened one memory.

/** Seals with the key and nonce that it is told; leaves it to the codec to say what was opened. */
class ToldKeys implements SealingKeys, OpeningKeys {
  readonly ring: KeyRing<EngineKey>;
  told: { id: number; nonce: Uint8Array } | undefined;
  isVerified = false;

  constructor(aead: Engines) {
    this.ring = new KeyRing(aead);
  }

  sealing(): Sealing | undefined {
    if (this.told === undefined) return undefined;
    const { id, nonce } = this.told;
    const key = this.ring.find(id);
    if (key === undefined) throw new CodecError("UNKNOWN_KEY", "the key was left out meanwhile");
    return { id, key, nonce };
  }

  admit(_bytes: Uint8Array, { isSealed, keyId }: Envelope): EngineKey | undefined {
    if (!isSealed) {
      if (this.ring.isEmpty) return undefined;
      throw new CodecError("UNSEALED", "the body is not sealed, and this codec holds keys");
    }
    const key = this.ring.find(keyId);
    if (key !== undefined) return key;
    const held = this.ring.ids.map(idTextOf).join(", ") || "none";
    throw new CodecError("UNKNOWN_KEY", `sealed under ${idTextOf(keyId)}, keys held: ${held}`);
  }

  sessionOf(): never {
    throw new Error("what was agreed on stays with the codec");
  }

  keep(): never {
    return this.sessionOf();
  }

  drop(): never {
    return this.sessionOf();
  }

  markOpened(): void {
    this.isVerified = true;
  }
}

const thread = await enterThread();
const { sizeMax, isCompressing, compressor, engine, nativeFrom } = thread.data as ThreadOptions;
const [module, sodium, crypto] = await Promise.all([
  loadCodecModule(),
  loadSodium(),
  engine === "wasm" ? undefined : loadNativeCrypto(),
]);
const memory = new LinearMemory(module);
const blocks = compressor === "assembly" ? new Lz4Assembly(memory) : await Lz4Wasm.load(memory);
const engines = new Engines({ sodium, crypto, choice: engine, nativeFrom });
const keys = new ToldKeys(engines);
const { ring } = keys;
// Bodies as large as those that come here are made without a dictionary.
const dictionaries = new DictionaryShelf(memory, []);
const shared = { memory, blocks, engines, keys, binder: new ContextBinder(), dictionaries };
const sealer = new BodySealer({ ...shared, isCompressing });
const opener = new BodyOpener({ ...shared, sizeMax });

function setKeys(ids: readonly number[], secrets: Uint8Array): void {
  const secretOf = (index: number) =>
    secrets.subarray(index * SECRET_SIZE, (index + 1) * SECRET_SIZE);
  // The ring copies them.
  if (ids.length > 0) ring.replace(ids.map((id, index) => new CodecKey(id, secretOf(index))));
  secrets.fill(0);
}

function seal({ bytes, context, sealing }: ThreadTask & { what: "seal" }): Uint8Array {
  const top = memory.enter();
  try {
    memory.reserve(top, bytes.length);
    memory.u8.set(bytes, top);
    bytes.fill(0);
    keys.told = sealing;
    return sealer.seal(bytes.length, context);
  } finally {
    memory.leave(top);
  }
}

function open({ bytes, context }: ThreadTask & { what: "open" }): Uint8Array {
  const top = memory.enter();
  try {
    return new Uint8Array(opener.open(bytes, readEnvelope(bytes), context));
  } finally {
    engines.settle();
    memory.leave(top);
  }
}

function answer(work: () => Uint8Array): void {
  let message: ThreadAnswer;
  keys.isVerified = false;
  try {
    message = { bytes: work() };
  } catch (error) {
    // A bug, or no memory: the thread is given up, and the codec told by its end.
    if (!(error instanceof CodecError)) throw error;
    const { code, message: text } = error;
    const reason = text.slice(code.length + 2);
    return thread.post({ code, reason, isVerified: keys.isVerified } satisfies ThreadAnswer, []);
  }
  thread.post(message, [message.bytes]);
}

function end(): void {
  ring.clear();
  engines.free();
  blocks.wipe();
  memory.wipe();
  thread.end();
}

thread.listen((message) => {
  const task = message as ThreadTask;
  switch (task.what) {
    case "keys":
      return setKeys(task.ids, task.secrets);
    case "seal":
      return answer(() => seal(task));
    case "open":
      return answer(() => open(task));
    case "end":
      return end();
    default:
      task satisfies never;
  }
});
