import { XPublisher, XSubscriber } from "zeromq";
import type { Access } from "../base/access.js";
import { isTopic, prefixOf } from "../base/topic.js";
import { Reading } from "../link/reading.js";
import { BatchWriter } from "../wire/batch.js";
import { eventBody, writePublish } from "../wire/event-record.js";
import { BATCH_HEADER_SIZE, EventFlag } from "../wire/layout.js";
import { bytesOf, type HeldRecord } from "../wire/request-record.js";
import { readText } from "../wire/text.js";
import { claimPath, listenError, parseEndpoint } from "../zmtp/endpoint.js";
import type { CurveChannel } from "./curve-channel.js";
import type { CurveGate } from "./curve-gate.js";
import type { Host } from "./host.js";
import { PrefixRoom } from "./prefix-room.js";
import type { PlainTopics, PubSub } from "./pubsub.js";

/** libzmq's own: what a plain SUB is owed, or a plain PUB sent, beyond that is lost as ever. */
const MESSAGES_QUEUED_MAX = 1000;
/**
 * What of one peer may wait to be read. At the mark libzmq 4.3.5 stops to read, and if the peer is gone
 * then, a heartbeat of its own that stands in what is left makes libzmq abort the process (`!_io_error`).
 */
const MESSAGES_UNREAD_MAX = 131_072;
/**
 * Of one message to an XPUB. libzmq keeps a node for each byte of a prefix, before we see it. What a prefix
 * may have at most is less, but CURVE's INITIATE with a long routing id, 544 bytes, goes through this too.
 */
const WISH_BYTES_MAX = 768;
/**
 * Under CURVE a SUB that was refused so many prefixes is cut off: libzmq has kept them, and lets go of them
 * with the connection alone.
 */
const PREFIXES_REFUSED_MAX = 256;
const MESSAGES_PER_TURN = 64;
const FRAMES_MAX = 255;
const TOPIC_BYTES_MAX = 255;
const SUBSCRIBE = 1;

/** Counted of plain PUB and SUB sockets; all only grow but `prefixes`. */
// A type, not an interface: it is a record of numbers to those who show it.
export type PlainTopicCounts = {
  /** Messages of plain PUBs. */
  heard: number;
  /** Of these, those that natives cannot have: the first frame is no topic, or they are too large. */
  notNative: number;
  /** Messages given to the XPUB. */
  told: number;
  /** Prefixes that plain PUBs are asked for. */
  prefixes: number;
  /** Messages of plain PUBs whose key could not be checked: the first frame is longer than any topic. */
  overlong: number;
  /** Prefixes of plain SUBs that are too long or too many: what only these are for is not sent. */
  prefixesRefused: number;
};

export interface PlainTopicOptions {
  /** Where plain PUB sockets connect. */
  xsub: readonly string[];
  /** Where plain SUB sockets connect. */
  xpub: readonly string[];
  handshakeTimeoutMs: number;
  messageBytesMax: number;
  /** Under CURVE, where each connection has a socket of its own. */
  gate?: CurveGate;
}

/** A socket that plain PUBs are connected to: all of them, or under CURVE one. */
interface PubLine {
  readonly socket: XSubscriber;
  readonly access: Access | undefined;
  readonly reading: Reading;
}

/** A socket that plain SUBs are connected to: all of them, or under CURVE one. */
interface SubLine {
  readonly socket: XPublisher;
  readonly access: Access | undefined;
  readonly reading: Reading;
  /** Prefixes that it asked for, and of these those that it may hear: bytes in latin1. */
  readonly asked: Set<string>;
  readonly heard: Set<string>;
  /** How many it was refused. */
  refusedCount: number;
}

/**
 * Plain PUB and SUB sockets (PROTOCOL 6.6) on an XSUB and an XPUB. What plain PUBs say goes to plain
 * SUBs as it is, and to natives as raw events; what natives publish, to plain SUBs. PUBs are asked only for
 * what somebody listens to: the prefixes of the SUBs, and the beginnings of native patterns.
 *
 * Neither socket tells whose key a message came with, so under CURVE each connection has one of its own. A
 * SUB hears what its key may of what it asks for, a prefix as a whole or not at all.
 */
export class PlainSockets implements PlainTopics {
  readonly counts: PlainTopicCounts = {
    heard: 0,
    notNative: 0,
    told: 0,
    overlong: 0,
    prefixes: 0,
    prefixesRefused: 0,
  };
  /** With the real ports. */
  readonly xsub: string[] = [];
  readonly xpub: string[] = [];
  readonly #publishers = new Set<PubLine>();
  readonly #subscribers = new Set<SubLine>();
  readonly #byPubsOptions: object;
  readonly #bySubsOptions: object;
  readonly #host: Host;
  readonly #pubsub: PubSub;
  readonly #bytesMax: number;
  readonly #room: PrefixRoom;
  /** How many want each prefix: native patterns and the XPUB, which counts once. */
  readonly #wanted = new Map<string, number>();
  /** Prefixes of plain SUBs, as bytes in latin1, and on how many sockets of ours each is heard. */
  readonly #heardBySubs = new Map<string, number>();
  #isClosed = false;

  private constructor(host: Host & { readonly pubsub: PubSub }, options: PlainTopicOptions) {
    this.#host = host;
    this.#pubsub = host.pubsub;
    this.#bytesMax = host.limits.recordBytesMax;
    this.#room = new PrefixRoom(host.limits);
    const shared = {
      linger: 0,
      receiveHighWaterMark: MESSAGES_UNREAD_MAX,
      handshakeInterval: options.handshakeTimeoutMs,
      sendTimeout: 0,
    };
    // What an XSUB sends is what PUBs are asked for: at a mark the rest would never be, without a word. It is
    // bounded by the limits on subscriptions.
    const forPubs = { sendHighWaterMark: 0, maxMessageSize: options.messageBytesMax };
    this.#byPubsOptions = { ...shared, ...forPubs };
    const forSubs = { sendHighWaterMark: MESSAGES_QUEUED_MAX, maxMessageSize: WISH_BYTES_MAX };
    this.#bySubsOptions = { ...shared, ...forSubs };
  }

  /** Binds them and begins. Rejects with an Error of one line that names the endpoint. */
  static async listen(
    host: Host & { readonly pubsub: PubSub },
    options: PlainTopicOptions,
  ): Promise<PlainSockets> {
    const made = new PlainSockets(host, options);
    try {
      if (options.gate !== undefined) await made.#listenAt(options.gate, options);
      else await made.#bind(options);
    } catch (error) {
      made.close();
      throw error;
    }
    host.pubsub.plain = made;
    return made;
  }

  /** One socket for all PUBs, and one for all SUBs. */
  async #bind({ xsub, xpub }: PlainTopicOptions): Promise<void> {
    if (xsub.length > 0) {
      const socket = new XSubscriber(this.#byPubsOptions);
      const line = { socket, access: undefined, reading: new Reading() };
      this.#publishers.add(line);
      for (const endpoint of xsub) this.xsub.push(await bind(socket, "xsub", endpoint));
      void this.#receive(line);
    }
    if (xpub.length > 0) {
      const line = newSubLine(new XPublisher(this.#bySubsOptions), undefined);
      this.#subscribers.add(line);
      for (const endpoint of xpub) this.xpub.push(await bind(line.socket, "xpub", endpoint));
      void this.#receiveWishes(line);
    }
  }

  /** A socket for each PUB and each SUB, so that what its key may do is known. */
  async #listenAt(gate: CurveGate, { xsub, xpub }: PlainTopicOptions): Promise<void> {
    for (const endpoint of xsub) {
      const at = await gate.listenFor(endpoint, {
        makeSocket: (security) => new XSubscriber({ ...this.#byPubsOptions, ...security }),
        onOpen: (channel) => this.#addPublisher(channel),
      });
      this.xsub.push(at);
    }
    for (const endpoint of xpub) {
      const at = await gate.listenFor(endpoint, {
        makeSocket: (security) => new XPublisher({ ...this.#bySubsOptions, ...security }),
        onOpen: (channel) => this.#addSubscriber(channel),
      });
      this.xpub.push(at);
    }
  }

  #addPublisher(channel: CurveChannel<XSubscriber>): { onPeerGone(): void } {
    const { socket, access } = channel;
    const line: PubLine = { socket, access, reading: new Reading() };
    this.#publishers.add(line);
    for (const prefix of this.#wanted.keys()) this.#wish(line, prefix, true);
    void this.#receive(line).then(() => {
      this.#publishers.delete(line);
      channel.close();
    });
    // What it said last is still read; then its socket says nothing more, and is closed.
    return { onPeerGone: () => line.reading.onDry(() => channel.close()) };
  }

  #addSubscriber(channel: CurveChannel<XPublisher>): { onPeerGone(): void } {
    const line = newSubLine(channel.socket, channel.access);
    this.#subscribers.add(line);
    const onPeerGone = () => {
      if (!this.#subscribers.delete(line)) return;
      for (const prefix of [...line.asked]) this.#unask(line, prefix);
      channel.close();
    };
    void this.#receiveWishes(line, onPeerGone);
    return { onPeerGone };
  }

  /** What keys may hear has changed: plain SUBs are told what they may, of what they asked. */
  recheck(): void {
    for (const line of this.#subscribers) {
      for (const prefix of line.asked) this.#hear(line, prefix);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { socket } of this.#publishers) socket.close();
    for (const { socket } of this.#subscribers) socket.close();
  }

  // --- from natives ---

  onEvent(topic: string, record: HeldRecord): void {
    if (this.#heardBySubs.size === 0) return;
    const name = Buffer.from(topic).toString("latin1");
    if (!this.#isHeardBySubs(name)) return;
    // Copied: ZeroMQ sends from these bytes later.
    this.#tell(name, [topic, ...eventBody(record).map((part) => Buffer.from(part))]);
  }

  listen(pattern: string, isOneMore: boolean): void {
    this.#want(Buffer.from(prefixOf(pattern)).toString("latin1"), isOneMore);
  }

  // --- from plain SUBs ---

  /** `cut` ends its connection, where it has one of its own. */
  async #receiveWishes(line: SubLine, cut?: () => void): Promise<void> {
    const key = line.access?.key;
    for await (const frames of this.#messages(line)) {
      const [wish] = frames;
      if (wish.length === 0 || wish[0] > SUBSCRIBE) continue;
      const prefix = wish.toString("latin1", 1);
      const isOneMore = wish[0] === SUBSCRIBE;
      // An XPUB tells of the first SUB that has a prefix, and of the last that had it.
      if (isOneMore === line.asked.has(prefix)) continue;
      if (!isOneMore) this.#unask(line, prefix);
      else if (this.#room.hasRoom(prefix, key)) this.#ask(line, prefix);
      else {
        this.counts.prefixesRefused++;
        if (++line.refusedCount > PREFIXES_REFUSED_MAX) cut?.();
      }
    }
  }

  #ask(line: SubLine, prefix: string): void {
    line.asked.add(prefix);
    this.#room.add(prefix, line.access?.key);
    this.#hear(line, prefix);
    // A SUB cannot be told.
    if (!line.heard.has(prefix)) line.access?.deny("subscribe", `${nameOf(prefix)}...`);
  }

  #unask(line: SubLine, prefix: string): void {
    line.asked.delete(prefix);
    this.#room.delete(prefix, line.access?.key);
    this.#setHeard(line, prefix, false);
  }

  /** Lets it hear what it asked for, if its key may. */
  #hear(line: SubLine, prefix: string): void {
    this.#setHeard(line, prefix, line.access?.mayHearPrefix(nameOf(prefix)) !== false);
  }

  #setHeard({ heard }: SubLine, prefix: string, isHeard: boolean): void {
    if (heard.has(prefix) === isHeard) return;
    if (isHeard) heard.add(prefix);
    else heard.delete(prefix);
    const count = (this.#heardBySubs.get(prefix) ?? 0) + (isHeard ? 1 : -1);
    if (count > 0) this.#heardBySubs.set(prefix, count);
    else this.#heardBySubs.delete(prefix);
    this.#want(prefix, isHeard);
  }

  /** Whether some plain SUB has a prefix of this topic. */
  #isHeardBySubs(topic: string): boolean {
    return hasPrefixOf(this.#heardBySubs, topic);
  }

  /** `topic` in latin1 is that of `message`, and heard by someone. */
  #tell(topic: string, message: (string | Buffer)[]): void {
    if (this.#isClosed) return;
    this.counts.told++;
    for (const { socket, access, heard } of this.#subscribers) {
      if (access !== undefined && (socket.closed || !hasPrefixOf(heard, topic))) continue;
      // An XPUB is always ready: to those that do not read it sends nothing more.
      socket.send(message).catch(() => {});
    }
  }

  /** Asks plain PUBs for what begins with `prefix`, or not any more. */
  #want(prefix: string, isOneMore: boolean): void {
    const before = this.#wanted.get(prefix) ?? 0;
    const after = before + (isOneMore ? 1 : -1);
    if (after > 0) this.#wanted.set(prefix, after);
    else this.#wanted.delete(prefix);
    this.counts.prefixes = this.#wanted.size;
    if (this.#isClosed || (before > 0 && after > 0)) return;
    for (const line of this.#publishers) this.#wish(line, prefix, isOneMore);
  }

  #wish({ socket }: PubLine, prefix: string, isOneMore: boolean): void {
    if (socket.closed) return;
    const wish = Buffer.concat([Buffer.from([isOneMore ? 1 : 0]), Buffer.from(prefix, "latin1")]);
    socket.send(wish).catch(() => {});
  }

  // --- from plain PUBs ---

  async #receive(line: PubLine): Promise<void> {
    const { socket, access } = line;
    for await (const frames of this.#messages(line)) {
      this.counts.heard++;
      // What a key may say is known of a topic as a whole.
      if (access !== undefined && frames[0].length > TOPIC_BYTES_MAX) {
        this.counts.overlong++;
        continue;
      }
      const name = frames[0].toString("latin1", 0, TOPIC_BYTES_MAX);
      // A PUB cannot be told.
      if (access?.denial("publish", nameOf(name)) !== undefined) continue;
      if (this.#isHeardBySubs(name)) this.#tell(name, frames);
      this.#toNatives(frames);
      if (socket.closed || !socket.readable) this.#host.onTurn();
    }
  }

  #toNatives([topic, ...body]: Buffer[]): void {
    const name = topic.length <= TOPIC_BYTES_MAX ? readText(topic, 0, topic.length) : undefined;
    if (name === undefined || !isTopic(name) || body.length > FRAMES_MAX) {
      this.counts.notNative++;
      return;
    }
    const writer = new BatchWriter();
    const fields = {
      flags: EventFlag.RAW,
      publisherLow: 0,
      publisherHigh: 0,
      sequence: 0,
      confirm: 0,
      topic,
    };
    writePublish(writer, fields, body.length === 0 ? NO_BYTES : body);
    const frames = writer.frameBytes > 0 || body.length > 1 ? body : [];
    const { bytes, view, size } = writer;
    const record = { bytes, view, at: BATCH_HEADER_SIZE, size: size - BATCH_HEADER_SIZE, frames };
    const total = bytesOf(record);
    if (total > this.#bytesMax) {
      this.counts.notNative++;
      return;
    }
    this.#host.begin();
    this.#pubsub.publish({ topic: name, bytes: total, holds: 0, record });
  }

  /** The messages of a socket until it is closed; others have their turn in between. */
  async *#messages({ socket, reading }: PubLine | SubLine): AsyncGenerator<Buffer[]> {
    for (let count = 1; !this.#isClosed; count++) {
      let frames: Buffer[];
      reading.begin();
      try {
        frames = await socket.receive();
      } catch (error) {
        // Under CURVE also when its only peer is gone.
        if (this.#isClosed || socket.closed) return;
        throw error;
      }
      reading.end();
      if (this.#isClosed) return;
      yield frames;
      if (count % MESSAGES_PER_TURN === 0) {
        this.#host.onTurn();
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    }
  }
}

const NO_BYTES = new Uint8Array(0);

function newSubLine(socket: XPublisher, access: Access | undefined): SubLine {
  const reading = new Reading();
  return { socket, access, reading, asked: new Set(), heard: new Set(), refusedCount: 0 };
}

/** Whether `topic`, or any beginning of it, is among `prefixes`. */
function hasPrefixOf(prefixes: { has(prefix: string): boolean }, topic: string): boolean {
  for (let size = 0; size <= topic.length; size++) {
    if (prefixes.has(topic.slice(0, size))) return true;
  }
  return false;
}

/** Bytes in latin1 as the text that they are. */
function nameOf(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString();
}

async function bind(
  socket: XSubscriber | XPublisher,
  name: string,
  endpoint: string,
): Promise<string> {
  const parsed = parseEndpoint(name, endpoint);
  try {
    if (parsed.kind === "ipc") await claimPath(parsed.path);
    await socket.bind(endpoint);
    return socket.lastEndpoint as string;
  } catch (error) {
    throw listenError(endpoint, error);
  }
}
