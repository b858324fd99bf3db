import { XPublisher, XSubscriber } from "zeromq";
import { isTopic, prefixOf } from "../base/topic.js";
import { BatchWriter } from "../wire/batch.js";
import { eventBody, writePublish } from "../wire/event-record.js";
import { BATCH_HEADER_SIZE, EventFlag } from "../wire/layout.js";
import { bytesOf, type HeldRecord } from "../wire/request-record.js";
import { readText } from "../wire/text.js";
import type { Host } from "./host.js";
import { claimPath, listenError, parseEndpoint } from "./listen-endpoint.js";
import type { PlainTopics, PubSub } from "./pubsub.js";

/** libzmq's own: what a plain SUB is owed, or a plain PUB sent, beyond that is lost as ever. */
const MESSAGES_QUEUED_MAX = 1000;
const WISHES_QUEUED_MAX = 131_072;
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
  /** Prefixes of plain SUBs beyond the limit on subscriptions: what only these are for is not sent. */
  prefixesRefused: number;
};

export interface PlainTopicOptions {
  /** Where plain PUB sockets connect. */
  xsub: readonly string[];
  /** Where plain SUB sockets connect. */
  xpub: readonly string[];
  handshakeTimeoutMs: number;
  messageBytesMax: number;
}

/**
 * Plain PUB and SUB sockets (PROTOCOL 6.6) on an XSUB and an XPUB. What plain PUBs say goes to plain
 * SUBs as it is, and to natives as raw events; what natives publish, to plain SUBs. PUBs are asked only for
 * what somebody listens to: the prefixes of the SUBs, and the beginnings of native patterns.
 */
export class PlainSockets implements PlainTopics {
  readonly counts: PlainTopicCounts = {
    heard: 0,
    notNative: 0,
    told: 0,
    prefixes: 0,
    prefixesRefused: 0,
  };
  /** With the real ports. */
  readonly xsub: string[] = [];
  readonly xpub: string[] = [];
  readonly #publishers: XSubscriber | undefined;
  readonly #subscribers: XPublisher | undefined;
  readonly #host: Host;
  readonly #pubsub: PubSub;
  readonly #bytesMax: number;
  readonly #prefixesMax: number;
  /** How many want each prefix: native patterns and the XPUB, which counts once. */
  readonly #wanted = new Map<string, number>();
  /** Prefixes of plain SUBs, as bytes in latin1. */
  readonly #heardBySubs = new Set<string>();
  #isClosed = false;

  private constructor(host: Host & { readonly pubsub: PubSub }, options: PlainTopicOptions) {
    this.#host = host;
    this.#pubsub = host.pubsub;
    this.#bytesMax = host.limits.recordBytesMax;
    this.#prefixesMax = host.limits.subscriptionsMax;
    const shared = {
      linger: 0,
      sendHighWaterMark: MESSAGES_QUEUED_MAX,
      receiveHighWaterMark: MESSAGES_QUEUED_MAX,
      handshakeInterval: options.handshakeTimeoutMs,
      maxMessageSize: options.messageBytesMax,
      sendTimeout: 0,
    };
    if (options.xsub.length > 0) this.#publishers = new XSubscriber(shared);
    if (options.xpub.length > 0) {
      // What SUBs ask for is small, and there may be much at once.
      const receiveHighWaterMark = WISHES_QUEUED_MAX;
      this.#subscribers = new XPublisher({ ...shared, receiveHighWaterMark } as typeof shared);
    }
  }

  /** Binds them and begins. Rejects with an Error of one line that names the endpoint. */
  static async listen(
    host: Host & { readonly pubsub: PubSub },
    options: PlainTopicOptions,
  ): Promise<PlainSockets> {
    const made = new PlainSockets(host, options);
    try {
      for (const endpoint of options.xsub) {
        made.xsub.push(await bind(made.#publishers as XSubscriber, "xsub", endpoint));
      }
      for (const endpoint of options.xpub) {
        made.xpub.push(await bind(made.#subscribers as XPublisher, "xpub", endpoint));
      }
    } catch (error) {
      made.close();
      throw error;
    }
    if (made.#publishers !== undefined) void made.#receive(made.#publishers);
    if (made.#subscribers !== undefined) void made.#receiveWishes(made.#subscribers);
    host.pubsub.plain = made;
    return made;
  }

  close(): void {
    this.#isClosed = true;
    this.#publishers?.close();
    this.#subscribers?.close();
  }

  // --- from natives ---

  onEvent(topic: string, record: HeldRecord): void {
    if (this.#heardBySubs.size === 0) return;
    if (!this.#isHeardBySubs(Buffer.from(topic).toString("latin1"))) return;
    // Copied: ZeroMQ sends from these bytes later.
    this.#tell([topic, ...eventBody(record).map((part) => Buffer.from(part))]);
  }

  listen(pattern: string, isOneMore: boolean): void {
    this.#want(Buffer.from(prefixOf(pattern)).toString("latin1"), isOneMore);
  }

  // --- from plain SUBs ---

  async #receiveWishes(socket: XPublisher): Promise<void> {
    for await (const frames of this.#messages(socket)) {
      const [wish] = frames;
      if (wish.length === 0 || wish[0] > SUBSCRIBE) continue;
      const prefix = wish.toString("latin1", 1);
      const isOneMore = wish[0] === SUBSCRIBE;
      // An XPUB tells of the first SUB that has a prefix, and of the last that had it.
      if (isOneMore === this.#heardBySubs.has(prefix)) continue;
      if (!isOneMore) this.#heardBySubs.delete(prefix);
      else if (this.#heardBySubs.size < this.#prefixesMax) this.#heardBySubs.add(prefix);
      else {
        this.counts.prefixesRefused++;
        continue;
      }
      this.#want(prefix, isOneMore);
    }
  }

  /** Whether some plain SUB has a prefix of this topic. */
  #isHeardBySubs(topic: string): boolean {
    for (let size = 0; size <= topic.length; size++) {
      if (this.#heardBySubs.has(topic.slice(0, size))) return true;
    }
    return false;
  }

  #tell(message: (string | Buffer)[]): void {
    if (this.#isClosed || this.#subscribers === undefined) return;
    this.counts.told++;
    // An XPUB is always ready: to those that do not read it sends nothing more.
    this.#subscribers.send(message).catch(() => {});
  }

  /** Asks plain PUBs for what begins with `prefix`, or not any more. */
  #want(prefix: string, isOneMore: boolean): void {
    const before = this.#wanted.get(prefix) ?? 0;
    const after = before + (isOneMore ? 1 : -1);
    if (after > 0) this.#wanted.set(prefix, after);
    else this.#wanted.delete(prefix);
    this.counts.prefixes = this.#wanted.size;
    if (this.#isClosed || this.#publishers === undefined) return;
    if (before > 0 && after > 0) return;
    const wish = Buffer.concat([Buffer.from([isOneMore ? 1 : 0]), Buffer.from(prefix, "latin1")]);
    this.#publishers.send(wish).catch(() => {});
  }

  // --- from plain PUBs ---

  async #receive(socket: XSubscriber): Promise<void> {
    for await (const frames of this.#messages(socket)) {
      this.counts.heard++;
      const name = frames[0].toString("latin1", 0, TOPIC_BYTES_MAX);
      if (this.#isHeardBySubs(name)) this.#tell(frames);
      this.#toNatives(frames);
      if (!socket.readable) this.#host.onTurn();
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
  async *#messages(socket: XSubscriber | XPublisher): AsyncGenerator<Buffer[]> {
    for (let count = 1; !this.#isClosed; count++) {
      let frames: Buffer[];
      try {
        frames = await socket.receive();
      } catch (error) {
        if (this.#isClosed) return;
        throw error;
      }
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
