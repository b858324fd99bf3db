import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";

export type PlainFault = "reply-unexpected" | "reply-malformed";

const delimiter = Buffer.alloc(0);

// | broker u64, random | worker u32 | sequence u32 |, sent as the envelope of each request. REP
// gives it back before its reply (RFC 28). It is needed: a REP that was stopped or cut off
// answers what it had in hand over its next connection, where another request may be waiting.
const tagSize = 16;
const brokerTag = randomBytes(8);

// Replies to earlier connections that one may bring; a REP holds one for each it was cut off from.
const staleCountMax = 16;

/** What is said with one REP socket: a request, its reply, and only then the next. */
export class PlainDialogue {
  isBusy = false;
  readonly #id: number;
  #tag: Buffer = delimiter;
  #sequence = 0;
  #staleCount = 0;

  constructor(id: number) {
    this.#id = id;
  }

  /** The message that brings it the next request; asserts that none is outstanding. */
  begin(parts: readonly Uint8Array[]): Uint8Array[] {
    assert(!this.isBusy, `plain worker ${this.#id} already has a request`);
    this.isBusy = true;
    this.#tag = Buffer.allocUnsafe(tagSize);
    brokerTag.copy(this.#tag);
    this.#tag.writeUInt32LE(this.#id >>> 0, 8);
    this.#tag.writeUInt32LE(++this.#sequence >>> 0, 12);
    return [this.#tag, delimiter, ...parts];
  }

  /** The reply in a message of it, its envelope stripped; "stale": of an earlier connection; a fault. */
  read(message: Buffer[]): Buffer[] | "stale" | PlainFault {
    const isReply = hasEnvelope(message);
    if (isReply && !message[0].equals(this.#tag) && this.#staleCount < staleCountMax) {
      this.#staleCount++;
      return "stale";
    }
    if (!this.isBusy) return "reply-unexpected";
    if (!isReply || !message[0].equals(this.#tag)) return "reply-malformed";
    this.isBusy = false;
    this.#tag = delimiter;
    return message.slice(2);
  }
}

/** Whether `message` is what a REP sends: an envelope of ours, to this connection or an earlier one. */
export function hasEnvelope(message: readonly Buffer[]): boolean {
  return message.length >= 3 && message[0].length === tagSize && message[1].length === 0;
}
