import type { Access } from "../base/access.js";
import { OWN_FRAME_BYTES_MIN, outgoing } from "../base/blocks.js";
import { isTopic, prefixOf } from "../base/topic.js";
import { eventBody } from "../wire/event-record.js";
import { bytesOf, type HeldRecord } from "../wire/request-record.js";
import { readText } from "../wire/text.js";
import { Acceptor, type AcceptorOptions } from "./acceptor.js";
import type { Arrival } from "./arrival.js";
import type { Host } from "./host.js";
import { nameOf, newCounts, PlainSubs, WISH_BYTES_MAX } from "./plain-subs.js";
import type { PlainTopics, PubSub } from "./pubsub.js";
import { rawEvent } from "./raw-records.js";
import { Wishes } from "./wishes.js";

const XSUB = { roles: { PUB: "XSUB", XPUB: "XSUB" }, advice: "PUB" };
const XPUB = { roles: { SUB: "XPUB", XSUB: "XPUB" }, advice: "SUB" };
const FRAMES_MAX = 255;
const TOPIC_BYTES_MAX = 255;

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
  readonly counts = newCounts();
  /** Where they connect, with the real ports; and how they come in. */
  readonly xsub: string[] = [];
  readonly xpub: string[] = [];
  readonly acceptors: readonly Acceptor[];
  readonly #wishes = new Wishes();
  readonly #host: Host;
  readonly #pubsub: PubSub;
  readonly #bytesMax: number;
  readonly #subs: PlainSubs;
  #flushing: NodeJS.Immediate | undefined;
  #isClosed = false;

  private constructor(host: Host & { readonly pubsub: PubSub }, options: PlainTopicOptions) {
    const { limits } = host;
    this.#host = host;
    this.#pubsub = host.pubsub;
    this.#bytesMax = limits.recordBytesMax;
    this.#subs = new PlainSubs(limits, options.curve !== undefined, this.counts);
    this.#subs.onWant = (prefix, isOneMore) => this.#want(prefix, isOneMore);
    const onTurn = () => {
      this.#flush();
      host.onTurn();
    };
    const onPub = (arrival: Arrival) => this.#addPublisher(arrival);
    const onSub = (arrival: Arrival) => this.#subs.add(arrival);
    // A PUB whose program says nothing reads nothing either.
    const forPubs = { ...options, isPatient: true };
    const forSubs = { ...options, messageBytesMax: WISH_BYTES_MAX, isPingForKnowing: true };
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

  recheck(): void {
    this.#subs.recheck();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#flush();
    this.#isClosed = true;
    this.#subs.close();
    clearImmediate(this.#flushing);
  }

  /** Ends every connection; what was sent before still goes out, for at most `lingerMs`. */
  async end(lingerMs: number): Promise<void> {
    this.close();
    await Promise.all(this.acceptors.map((acceptor) => acceptor.end(lingerMs)));
  }

  // --- from natives ---

  onEvent(topic: string, record: HeldRecord): void {
    if (this.#subs.count === 0) return;
    const name = Buffer.from(topic);
    const body = eventBody(record);
    // One that stands in its record, among others, must not keep them all.
    const isWithin = record.frames.length === 0 && body[0].length >= OWN_FRAME_BYTES_MIN;
    const parts = isWithin ? [Buffer.from(body[0])] : body;
    if (this.#subs.tell(name.toString("latin1"), [name, ...parts])) this.#flushSoon();
  }

  listen(pattern: string, isOneMore: boolean): void {
    this.#want(Buffer.from(prefixOf(pattern)).toString("latin1"), isOneMore);
  }

  // --- to plain PUBs ---

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
    this.#subs.flush();
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
    if (this.#subs.tell(name, frames)) this.#flushSoon();
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
