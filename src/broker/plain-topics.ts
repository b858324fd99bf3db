import type { Access } from "../base/access.js";
import { OWN_FRAME_BYTES_MIN, outgoing } from "../base/blocks.js";
import { isTopic, prefixOf } from "../base/topic.js";
import { eventBody } from "../wire/event-record.js";
import { bytesOf, type HeldRecord } from "../wire/request-record.js";
import { readText } from "../wire/text.js";
import { Acceptor, type AcceptorOptions } from "./acceptor.js";
import type { Arrival } from "./arrival.js";
import { FanOut, KeptRoom } from "./fan-out.js";
import type { Host } from "./host.js";
import { PrefixIndex } from "./prefix-index.js";
import { PrefixRoom } from "./prefix-room.js";
import type { PlainTopics, PubSub } from "./pubsub.js";
import { rawEvent } from "./raw-records.js";
import { SubLine, type SubRoom } from "./sub-line.js";
import { Wishes } from "./wishes.js";

const XSUB = { roles: { PUB: "XSUB", XPUB: "XSUB" }, advice: "PUB" };
const XPUB = { roles: { SUB: "XPUB", XSUB: "XPUB" }, advice: "SUB" };
/** Of one message of a SUB: a prefix as long as a topic, and longer ones, which are told of in the counts. */
const WISH_BYTES_MAX = 768;
/** A SUB that its program does not read for a while answers no heartbeats behind what it was told. */
const SUB_PATIENCE = 30;
const FRAMES_MAX = 255;
const TOPIC_BYTES_MAX = 255;
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

export interface PlainTopicOptions extends AcceptorOptions {
  /** Where plain PUB sockets connect. */
  xsub: readonly string[];
  /** Where plain SUB sockets connect. */
  xpub: readonly string[];
}

/**
 * Plain PUB and SUB sockets (PROTOCOL 6.6), to which we are an XSUB and an XPUB. What plain PUBs say goes to plain
 * SUBs as it is, and to natives as raw events; what natives publish, to plain SUBs. PUBs are asked only for
 * what somebody listens to: the prefixes of the SUBs, and the beginnings of native patterns.
 *
 * Under CURVE a SUB hears what its key may of what it asks for, a prefix as a whole or not at all.
 */
export class PlainSockets implements PlainTopics {
  readonly counts: PlainTopicCounts = {
    heard: 0,
    notNative: 0,
    told: 0,
    overlong: 0,
    prefixes: 0,
    prefixesRefused: 0,
    dropped: 0,
  };
  /** Where they connect, with the real ports; and how they come in. */
  readonly xsub: string[] = [];
  readonly xpub: string[] = [];
  readonly acceptors: readonly Acceptor[];
  readonly #wishes = new Wishes();
  readonly #host: Host;
  readonly #pubsub: PubSub;
  readonly #bytesMax: number;
  readonly #room: PrefixRoom;
  readonly #subRoom: SubRoom;
  readonly #subscribers = new Set<SubLine>();
  /** Those that hear what begins so. */
  readonly #index = new PrefixIndex<SubLine>();
  #flushing: NodeJS.Immediate | undefined;
  #isClosed = false;

  private constructor(host: Host & { readonly pubsub: PubSub }, options: PlainTopicOptions) {
    const { limits } = host;
    this.#host = host;
    this.#pubsub = host.pubsub;
    this.#bytesMax = limits.recordBytesMax;
    this.#room = new PrefixRoom(limits);
    const isSealed = options.curve !== undefined;
    this.#subRoom = {
      fanOut: new FanOut(isSealed),
      kept: new KeptRoom(limits.eventBytesMax),
      queuedBytesMax: limits.clientEventBytesMax,
      isSealed,
      onDropped: () => this.counts.dropped++,
    };
    const onTurn = () => {
      this.#flush();
      host.onTurn();
    };
    const onPub = (arrival: Arrival) => this.#addPublisher(arrival);
    const onSub = (arrival: Arrival) => this.#addSubscriber(arrival);
    // A PUB whose program says nothing reads nothing either.
    const forPubs = { ...options, isPatient: true };
    const forSubs = { ...options, messageBytesMax: WISH_BYTES_MAX };
    this.acceptors = [
      new Acceptor(XSUB, forPubs, { onArrival: onPub, onTurn }),
      new Acceptor(XPUB, forSubs, { onArrival: onSub, onTurn }),
    ];
  }

  /** Listens. Rejects with an Error of one line that names the endpoint. */
  static async listen(
    host: Host & { readonly pubsub: PubSub },
    options: PlainTopicOptions,
  ): Promise<PlainSockets> {
    const made = new PlainSockets(host, options);
    const [forPubs, forSubs] = made.acceptors;
    try {
      for (const endpoint of options.xsub) made.xsub.push(await forPubs.listen(endpoint));
      for (const endpoint of options.xpub) made.xpub.push(await forSubs.listen(endpoint));
    } catch (error) {
      await made.end(0);
      throw error;
    }
    host.pubsub.plain = made;
    return made;
  }

  #addPublisher(arrival: Arrival): void {
    const { access } = arrival;
    const line = this.#wishes.addLine();
    const connection = arrival.connect({
      onMessage: (frames) => this.#onPublication(access, frames),
      onDrained: () => line.flush(),
      onGone: () => this.#wishes.deleteLine(line),
    });
    line.attach(connection);
    arrival.begin();
    line.flush();
  }

  #addSubscriber(arrival: Arrival): void {
    const line = new SubLine(arrival, this.#subRoom);
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
        this.#subscribers.delete(line);
        for (const prefix of line.asked) this.#unask(line, prefix);
        line.onGone();
      },
    });
    connection.patience = SUB_PATIENCE;
    line.attach(connection);
    this.#subscribers.add(line);
    arrival.begin();
  }

  /** What keys may hear has changed: plain SUBs are told what they may, of what they asked. */
  recheck(): void {
    for (const line of this.#subscribers) {
      for (const prefix of line.asked) this.#hear(line, prefix);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#flush();
    this.#isClosed = true;
    clearImmediate(this.#flushing);
  }

  /** Ends every connection; what was sent before still goes out, for at most `lingerMs`. */
  async end(lingerMs: number): Promise<void> {
    this.close();
    await Promise.all(this.acceptors.map((acceptor) => acceptor.end(lingerMs)));
  }

  // --- from natives ---

  onEvent(topic: string, record: HeldRecord): void {
    if (this.#subscribers.size === 0) return;
    const name = Buffer.from(topic);
    const body = eventBody(record);
    // One that stands in its record, among others, must not keep them all.
    const isWithin = record.frames.length === 0 && body[0].length >= OWN_FRAME_BYTES_MIN;
    const parts = isWithin ? [Buffer.from(body[0])] : body;
    this.#tell(name.toString("latin1"), [name, ...parts]);
  }

  listen(pattern: string, isOneMore: boolean): void {
    this.#want(Buffer.from(prefixOf(pattern)).toString("latin1"), isOneMore);
  }

  // --- from plain SUBs ---

  #onWish(line: SubLine, what: number, bytes: Buffer): void {
    const prefix = bytes.toString("latin1");
    const isOneMore = what === SUBSCRIBE;
    if (this.#isClosed || isOneMore === line.asked.has(prefix)) return;
    if (!isOneMore) this.#unask(line, prefix);
    else if (this.#room.hasRoom(prefix, ownerOf(line))) this.#ask(line, prefix);
    else this.counts.prefixesRefused++;
  }

  #ask(line: SubLine, prefix: string): void {
    line.asked.add(prefix);
    this.#room.add(prefix, ownerOf(line));
    this.#hear(line, prefix);
    // A SUB cannot be told.
    if (!line.heard.has(prefix)) line.arrival.access?.deny("subscribe", `${nameOf(prefix)}...`);
  }

  #unask(line: SubLine, prefix: string): void {
    line.asked.delete(prefix);
    this.#room.delete(prefix, ownerOf(line));
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
    if (isChange) this.#want(prefix, isHeard);
  }

  /** `topic` in latin1 is that of `message`. */
  #tell(topic: string, message: readonly Uint8Array[]): void {
    const lines = this.#index.of(topic);
    if (lines.length === 0 || this.#isClosed) return;
    this.counts.told++;
    const { fanOut } = this.#subRoom;
    const told = fanOut.add(message);
    for (const line of lines) line.tell(told);
    if (fanOut.isFull) fanOut.flush();
    else this.#flushSoon();
  }

  /** Asks plain PUBs for what begins with `prefix`, or not any more. */
  #want(prefix: string, isOneMore: boolean): void {
    const isChange = this.#wishes.want(prefix, isOneMore);
    this.counts.prefixes = this.#wishes.count;
    if (isChange && !this.#isClosed) this.#flushSoon();
  }

  // --- turns ---

  /** Each peer gets what it is owed in one go, once all that came in is dealt with. */
  #flushSoon(): void {
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  #flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    if (this.#isClosed) return;
    this.#subRoom.fanOut.flush();
    this.#wishes.flush();
  }

  // --- from plain PUBs ---

  #onPublication(access: Access | undefined, frames: Buffer[]): void {
    if (this.#isClosed) return;
    this.counts.heard++;
    // What a key may say is known of a topic as a whole.
    if (access !== undefined && frames[0].length > TOPIC_BYTES_MAX) {
      this.counts.overlong++;
      return;
    }
    const name = frames[0].toString("latin1", 0, TOPIC_BYTES_MAX);
    // A PUB cannot be told.
    if (access?.denial("publish", nameOf(name)) !== undefined) return;
    this.#tell(name, frames);
    this.#toNatives(frames);
  }

  #toNatives([topic, ...body]: Buffer[]): void {
    const name = topic.length <= TOPIC_BYTES_MAX ? readText(topic, 0, topic.length) : undefined;
    if (name === undefined || !isTopic(name) || body.length > FRAMES_MAX) {
      this.counts.notNative++;
      return;
    }
    const record = rawEvent(topic, body);
    const bytes = bytesOf(record);
    if (bytes <= this.#bytesMax) {
      this.#host.begin();
      this.#pubsub.publish({ topic: name, bytes, holds: 0, record });
    } else this.counts.notNative++;
    // It was copied for each that it goes to.
    outgoing.giveBack(record.bytes);
  }
}

/** Whose its prefixes are: under CURVE a key's, over all its connections. */
function ownerOf(line: SubLine): unknown {
  return line.arrival.access?.key ?? line;
}

/** Bytes in latin1 as the text that they are. */
function nameOf(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString();
}
