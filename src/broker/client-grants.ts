import type { Stream } from "../core/streams.js";
import type { Host } from "./host.js";
import type { Outbox } from "./outbox.js";
import type { Peer } from "./peers.js";

/** What may be on its way to a client of one stream. All that it may ask at once come to half of what one may be owed. */
const WINDOW_PARTS = 32;
const WINDOW_BYTES = 64 * 1024;
/** What may wait for the client before no more is granted. */
const OWED_MESSAGES_MAX = 1024;
const OWED_BYTES_MAX = 1024 * 1024;

interface Flow {
  readonly peer: Peer;
  readonly slot: number;
}

/**
 * Credit for the streams of clients that know none, those of MDP/0.2: what the connection has taken is taken for read.
 * A client that does not read stops the handlers of its streams as a native one does.
 */
export class ClientGrants {
  readonly #host: Host;
  /** Streams that have used half of what was granted. */
  readonly #due = new Map<Stream, Flow>();
  /** Of these, those whose client has to take more first. */
  readonly #blocked = new Map<Stream, Flow>();

  constructor(host: Host) {
    this.#host = host;
  }

  /** The request of `peer` that was just asked may be answered with a stream. */
  begin({ index: peer }: Peer, sequence: number): void {
    const partsMax = WINDOW_PARTS;
    const bytesMax = WINDOW_BYTES;
    this.#host.step({ kind: "stream-credit", peer, sequence, partsMax, bytesMax });
  }

  /** A part of the stream in `slot` is on its way to `peer`. Called while the core steps. */
  onPart(peer: Peer, slot: number): void {
    const stream = this.#host.core.streams.at(slot) as Stream;
    const isHalfUsed =
      (stream.partsMax - stream.parts) * 2 <= WINDOW_PARTS ||
      (stream.bytesMax - stream.bytes) * 2 <= WINDOW_BYTES;
    if (isHalfUsed && !this.#blocked.has(stream)) this.#due.set(stream, { peer, slot });
  }

  get isDue(): boolean {
    return this.#due.size > 0;
  }

  /** Grants what there is room for at its client. */
  feed(): void {
    for (const [stream, flow] of this.#due) {
      if (!this.#grant(stream, flow)) this.#blocked.set(stream, flow);
    }
    this.#due.clear();
  }

  get needsTick(): boolean {
    return this.#blocked.size > 0;
  }

  onTick(): void {
    for (const [stream, flow] of this.#blocked) {
      if (this.#grant(stream, flow)) this.#blocked.delete(stream);
    }
  }

  /** Whether there is no more to do for it at present. */
  #grant(stream: Stream, { peer, slot }: Flow): boolean {
    const { core } = this.#host;
    // It may have ended since.
    if (core.streams.at(slot) !== stream) return true;
    if (!hasRoom(peer.outbox)) return false;
    this.#host.step({
      kind: "stream-credit",
      peer: peer.index,
      sequence: core.requests.sequence[slot],
      partsMax: stream.parts + WINDOW_PARTS,
      bytesMax: stream.bytes + WINDOW_BYTES,
    });
    return true;
  }
}

function hasRoom({ messageCount, owedBytes }: Outbox): boolean {
  return messageCount <= OWED_MESSAGES_MAX && owedBytes <= OWED_BYTES_MAX;
}
