import type { Limits } from "../core/limits.js";
import type { Arrival } from "./arrival.js";
import { FanOut, KeptRoom } from "./fan-out.js";
import { PrefixIndex } from "./prefix-index.js";
import { PrefixRoom } from "./prefix-room.js";
import { SubLine, type SubRoom } from "./sub-line.js";

/** Of one message of a SUB: a prefix as long as a topic, and longer ones, which are told of in the counts. */
export const WISH_BYTES_MAX = 768;
/** A SUB that its program does not read for a while answers no heartbeats behind what it was told. */
const SUB_PATIENCE = 30;
const CANCEL = 0;
const SUBSCRIBE = 1;

/** Counted of plain PUB and SUB sockets; all only grow but `prefixes`. */
// A type, not an interface: it is a record of numbers to those who show it.
export type PlainTopicCounts = {
  /** Messages of plain PUBs. */
  heard: number;
  /** Of these, those that natives cannot have: the first frame is no topic, or they are too large. */
  notNative: number;
  /** Messages that some plain SUB was told. */
  told: number;
  /** Prefixes that plain PUBs are asked for. */
  prefixes: number;
  /** Messages of plain PUBs whose key could not be checked: the first frame is longer than any topic. */
  overlong: number;
  /** Prefixes of plain SUBs that are too long or too many: what only these are for is not sent. */
  prefixesRefused: number;
  /** Messages that were lost to a SUB that did not read in time, each as often as that was. */
  dropped: number;
};

export function newCounts(): PlainTopicCounts {
  return {
    heard: 0,
    notNative: 0,
    told: 0,
    overlong: 0,
    prefixes: 0,
    prefixesRefused: 0,
    dropped: 0,
  };
}

/**
 * The plain SUBs, what they ask for and what they are told. Under CURVE a SUB hears what its key may of what it
 * asks for, a prefix as a whole or not at all.
 */
export class PlainSubs {
  /** `prefix`, bytes in latin1, is heard by one of them, or by none any more. */
  onWant: (prefix: string, isWanted: boolean) => void = () => {};
  readonly #counts: PlainTopicCounts;
  readonly #prefixes: PrefixRoom;
  readonly #room: SubRoom;
  readonly #lines = new Set<SubLine>();
  /** Those that hear what begins so. */
  readonly #index = new PrefixIndex<SubLine>();
  #isClosed = false;

  constructor(limits: Limits, isSealed: boolean, counts: PlainTopicCounts) {
    this.#counts = counts;
    this.#prefixes = new PrefixRoom(limits);
    this.#room = {
      fanOut: new FanOut(isSealed),
      kept: new KeptRoom(limits.eventBytesMax),
      queuedBytesMax: limits.clientEventBytesMax,
      isSealed,
      onDropped: () => void counts.dropped++,
    };
  }

  get count(): number {
    return this.#lines.size;
  }

  add(arrival: Arrival): void {
    const line = new SubLine(arrival, this.#room);
    const connection = arrival.connect({
      onMessage: ([wish]) => {
        if (wish.length > 0 && wish[0] <= SUBSCRIBE) this.#onWish(line, wish[0], wish.subarray(1));
      },
      // As libzmq says it to peers of ZMTP 3.1.
      onCommand: (name, data) => {
        if (name !== "SUBSCRIBE" && name !== "CANCEL") return;
        if (data.length >= WISH_BYTES_MAX) connection.endAs("message-too-large");
        else this.#onWish(line, name === "CANCEL" ? CANCEL : SUBSCRIBE, data);
      },
      onDrained: () => line.onDrained(),
      onGone: () => {
        this.#lines.delete(line);
        for (const prefix of line.asked) this.#unask(line, prefix);
        line.onGone();
      },
    });
    connection.patience = SUB_PATIENCE;
    line.attach(connection);
    this.#lines.add(line);
    arrival.begin();
  }

  /** `topic` in latin1 is that of `message`; returns whether there is more to flush. */
  tell(topic: string, message: readonly Uint8Array[]): boolean {
    const lines = this.#index.of(topic);
    if (lines.length === 0 || this.#isClosed) return false;
    this.#counts.told++;
    const { fanOut } = this.#room;
    const told = fanOut.add(message);
    for (const line of lines) line.tell(told);
    if (!fanOut.isFull) return true;
    fanOut.flush();
    return false;
  }

  /** Writes what was told, each peer's in one go. */
  flush(): void {
    this.#room.fanOut.flush();
  }

  /** What keys may hear has changed: plain SUBs are told what they may, of what they asked. */
  recheck(): void {
    for (const line of this.#lines) {
      for (const prefix of line.asked) this.#hear(line, prefix);
    }
  }

  close(): void {
    this.#isClosed = true;
  }

  #onWish(line: SubLine, what: number, bytes: Buffer): void {
    const prefix = bytes.toString("latin1");
    const isOneMore = what === SUBSCRIBE;
    if (this.#isClosed || isOneMore === line.asked.has(prefix)) return;
    if (!isOneMore) this.#unask(line, prefix);
    else if (this.#prefixes.hasRoom(prefix, ownerOf(line))) this.#ask(line, prefix);
    else this.#counts.prefixesRefused++;
  }

  #ask(line: SubLine, prefix: string): void {
    line.asked.add(prefix);
    this.#prefixes.add(prefix, ownerOf(line));
    this.#hear(line, prefix);
    // A SUB cannot be told.
    if (!line.heard.has(prefix)) line.arrival.access?.deny("subscribe", `${nameOf(prefix)}...`);
  }

  #unask(line: SubLine, prefix: string): void {
    line.asked.delete(prefix);
    this.#prefixes.delete(prefix, ownerOf(line));
    this.#setHeard(line, prefix, false);
  }

  /** Lets it hear what it asked for, if its key may. */
  #hear(line: SubLine, prefix: string): void {
    const { access } = line.arrival;
    this.#setHeard(line, prefix, access?.mayHearPrefix(nameOf(prefix)) !== false);
  }

  #setHeard(line: SubLine, prefix: string, isHeard: boolean): void {
    if (line.heard.has(prefix) === isHeard) return;
    if (isHeard) line.heard.add(prefix);
    else line.heard.delete(prefix);
    const isChange = isHeard ? this.#index.add(prefix, line) : this.#index.delete(prefix, line);
    if (isChange) this.onWant(prefix, isHeard);
  }
}

/** Whose its prefixes are: under CURVE a key's, over all its connections. */
function ownerOf(line: SubLine): unknown {
  return line.arrival.access?.key ?? line;
}

/** Bytes in latin1 as the text that they are. */
export function nameOf(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString();
}
