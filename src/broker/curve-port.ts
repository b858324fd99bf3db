import { Dealer, Router } from "zeromq";
import type { Access } from "../base/access.js";
import { afterPoll, Reading } from "../link/reading.js";
import { MAGIC } from "../wire/layout.js";
import { readMajordomo } from "../wire/majordomo.js";
import type { ChannelSocketOptions, CurveChannel } from "./curve-channel.js";
import { hasEnvelope, PlainDialogue } from "./plain-dialogue.js";
import type { PlainWorker } from "./plain-worker.js";
import type { PortEvents } from "./port.js";
import { type PortOptions, socketLimits, ZmqPort } from "./zmq-port.js";

/** What becomes of peers at the backend that turn out to be REP sockets. */
export interface PlainWorkerEvents {
  onPlainWorker(worker: PlainWorker): void;
  onPlainReply(worker: PlainWorker, parts: Buffer[]): void;
  /** Exactly once for each onPlainWorker. */
  onPlainGone(worker: PlainWorker): void;
  /** In its place for one that says only now that it is no REP: it could not read what it was sent. */
  onPlainMistaken(worker: PlainWorker): void;
}

const NO_BYTES = Buffer.alloc(0);
/**
 * A native worker says HELLO at once. One that has said nothing for so long is taken for a REP
 * socket, which speaks when spoken to; if it says HELLO yet, it is taken at its word. Waited for in steps:
 * while this process itself was busy, however long, no more than one of them goes by.
 */
const SILENCE_MS = 1000;
const SILENCE_STEPS = 4;

/**
 * How long one that is cut off has to read why, before its connection ends: ZeroMQ tells of that end
 * ahead of messages that came before it. Nothing is taken from it meanwhile.
 */
const CUT_MS = 500;

type Channel = CurveChannel<Router | Dealer>;

/** One connection: how the broker knows it, and how ZeroMQ does. */
class Line {
  /** What stands for it in messages to and from the exchange. */
  readonly routingId: Buffer;
  /** Of a ROUTER: what stands for its peer. */
  peerId: Buffer | undefined;
  /** Once it is taken for a REP socket. */
  plain: { dialogue: PlainDialogue; worker: PlainWorker } | undefined;
  /** Runs until it has said something, or until it is closed as one that is cut off. */
  timer: NodeJS.Timeout | undefined;
  isCut = false;
  isEnding = false;
  hasSpoken = false;
  readonly reading = new Reading();

  constructor(
    readonly id: number,
    readonly channel: Channel,
  ) {
    this.routingId = Buffer.alloc(4);
    this.routingId.writeUInt32LE(id);
  }
}

/**
 * A port whose peers have each a socket of their own, a ROUTER at the frontend, so that REQ and DEALER
 * can come, and a DEALER at the backend, for REP and DEALER.
 */
export class CurvePort extends ZmqPort {
  readonly #options: PortOptions;
  readonly #events: PortEvents;
  /** Only at the backend. */
  readonly #plain: PlainWorkerEvents | undefined;
  readonly #lines = new Map<number, Line>();
  #lastId = 0;

  constructor(options: PortOptions, events: PortEvents, plain?: PlainWorkerEvents) {
    super(events);
    this.#options = options;
    this.#events = events;
    this.#plain = plain;
  }

  makeSocket(security: ChannelSocketOptions): Router | Dealer {
    const options = { ...socketLimits(this.#options), ...security };
    if (this.#plain !== undefined) return new Dealer(options);
    return new Router({ ...options, mandatory: true });
  }

  /** Takes a connection whose key is proven; what it returns is told when the peer is gone. */
  add(channel: Channel): { onPeerGone(): void } {
    this.#lastId = (this.#lastId + 1) >>> 0;
    const line = new Line(this.#lastId, channel);
    this.#lines.set(line.id, line);
    this.#awaitWord(line);
    void this.#receive(line);
    return { onPeerGone: () => this.#onPeerGone(line) };
  }

  accessOf(routingId: Buffer): Access | undefined {
    return this.#lines.get(routingId.readUInt32LE())?.channel.access;
  }

  override cut(routingId: Buffer): void {
    const line = this.#lines.get(routingId.readUInt32LE());
    if (line === undefined || line.isCut) return;
    line.isCut = true;
    clearTimeout(line.timer);
    // A REP cannot be told, and must not be handed anything more.
    if (line.plain !== undefined) return line.channel.close();
    line.timer = setTimeout(() => line.channel.close(), CUT_MS);
  }

  override close(lingerMs: number): void {
    super.close(lingerMs);
    for (const { timer, channel } of this.#lines.values()) {
      clearTimeout(timer);
      channel.close(lingerMs);
    }
    this.#lines.clear();
  }

  /** All connections, by what stands for them in messages. */
  *lines(): Iterable<readonly [routingId: Buffer, channel: Channel]> {
    for (const { routingId, channel } of this.#lines.values()) yield [routingId, channel];
  }

  protected transmit(
    routingId: Buffer,
    message: readonly Uint8Array[],
  ): Promise<boolean | undefined> | undefined {
    const line = this.#lines.get(routingId.readUInt32LE());
    if (line === undefined || line.channel.socket.closed) return undefined;
    const { channel, peerId } = line;
    return this.sendBy(channel.socket, peerId === undefined ? message : [peerId, ...message]);
  }

  async #receive(line: Line): Promise<void> {
    const { socket } = line.channel;
    const isLast = () => {
      if (line.isEnding && (socket.closed || !socket.readable)) return true;
      line.reading.begin();
      return false;
    };
    line.reading.begin();
    await this.read(socket, (frames) => this.#onMessage(line, frames), isLast);
    if (!this.isClosed) this.#drop(line);
  }

  #onMessage(line: Line, frames: Buffer[]): void {
    line.reading.end();
    line.hasSpoken = true;
    if (line.isCut) return;
    if (this.#plain === undefined) {
      line.peerId = frames[0];
      frames[0] = line.routingId;
      this.#events.onMessage(frames);
      return;
    }
    // An envelope that a REP gives back: of an earlier connection, if it was not asked over this one.
    if (line.plain === undefined && hasEnvelope(frames)) this.#becomePlain(line);
    if (line.plain !== undefined && this.#onPlainMessage(line, frames)) return;
    clearTimeout(line.timer);
    frames.unshift(line.routingId);
    this.#events.onMessage(frames);
  }

  /** Returns whether the message is dealt with. */
  #onPlainMessage(line: Line, frames: Buffer[]): boolean {
    const { dialogue, worker } = line.plain!;
    if (!hasEnvelope(frames)) {
      // It was only slow to say what it is. What it was handed goes to another.
      line.plain = undefined;
      if (isFirstWord(frames)) this.#plain?.onPlainMistaken(worker);
      else this.#plain?.onPlainGone(worker);
      return false;
    }
    const reply = dialogue.read(frames);
    if (reply === "stale") return true;
    if (typeof reply === "string") {
      line.channel.refuse(reply);
      line.channel.close();
    } else {
      this.#plain?.onPlainReply(worker, reply);
    }
    return true;
  }

  #awaitWord(line: Line, steps = SILENCE_STEPS): void {
    if (this.#plain === undefined) return;
    line.timer = setTimeout(() => {
      if (steps > 1) return this.#awaitWord(line, steps - 1);
      // What came in while this process was busy is to be read before.
      afterPoll(() => {
        if (line.hasSpoken || line.isCut || line.channel.socket.closed) return;
        this.#becomePlain(line);
      });
    }, SILENCE_MS / SILENCE_STEPS);
  }

  #becomePlain(line: Line): void {
    clearTimeout(line.timer);
    const { channel } = line;
    const dialogue = new PlainDialogue(line.id);
    const worker: PlainWorker = {
      id: line.id,
      access: channel.access,
      send: (parts) => {
        if (channel.socket.closed || line.isEnding) return;
        // Fails only when the peer is gone, which is told.
        (channel.socket as Dealer).send(dialogue.begin(parts) as Buffer[]).catch(() => {});
      },
      close: () => channel.close(),
    };
    line.plain = { dialogue, worker };
    this.#plain?.onPlainWorker(worker);
  }

  /** Reads what the peer had sent, then forgets it. */
  #onPeerGone(line: Line): void {
    line.isEnding = true;
    const { socket } = line.channel;
    if (socket.closed) this.#drop(line);
    else line.reading.onDry(() => this.#drop(line));
  }

  #drop(line: Line): void {
    if (!this.#lines.delete(line.id)) return;
    clearTimeout(line.timer);
    const worker = line.plain?.worker;
    if (worker !== undefined) this.#plain?.onPlainGone(worker);
    // As a ROUTER tells of a disconnection.
    this.#events.onMessage([line.routingId, NO_BYTES]);
    this.#events.onTurn();
    line.channel.close();
  }
}

/** Whether a worker that is no REP begins so: a native one, with a batch, or one of Majordomo. */
function isFirstWord(frames: readonly Buffer[]): boolean {
  const [first] = frames;
  if (first.length >= 2 && first.readUInt16LE() === MAGIC) return true;
  return readMajordomo(frames, 0)?.command.kind === "ready";
}
