import { measureYoungBy } from "../base/kept-memory.js";
import { BatchWriter } from "../wire/batch.js";
import { PUBLISH_WINDOW_BYTES } from "../wire/layout.js";
import type { CurveKeys } from "./curve.js";
import { NetTransport, type TransportEvents } from "./net-transport.js";
import { youngGenerationBytes } from "./young-generation.js";

// Clients and workers have it, who keep what comes in.
measureYoungBy(youngGenerationBytes);

export interface LinkOptions {
  /** `tcp://host:port` or `ipc://path` of a broker. */
  endpoint: string;
  heartbeatIntervalMs: number;
  heartbeatTimeoutMs: number;
  /** How long to wait for a connection, its handshake and WELCOME. */
  handshakeTimeoutMs: number;
  /** The first wait before connecting again; doubled up to the second, with jitter. */
  reconnectMsMin: number;
  reconnectMsMax: number;
  /** Our key pair and the broker's public key; none where it does not use CURVE. */
  curve?: CurveKeys;
}

export interface LinkEvents {
  /** The connection stands. What is written from here on goes over this one connection. */
  onOpen(): void;
  /** Frames of less than OWN_FRAME_BYTES_MIN are good until this returns. */
  onMessage(frames: Buffer[]): void;
  /** The link is not behind any more. */
  onCaughtUp?(): void;
  /** The connection is lost, and all that was under way on it. A new one is tried. */
  onDown(reason: string): void;
}

/** Publications may come to half of it and wait for nothing but the broker: they leave as much to others. */
const BEHIND_BYTES_MIN = 2 * PUBLISH_WINDOW_BYTES;

/**
 * One connection to a broker at a time, and its one writer. Each connection is a transport of its
 * own, closed when it is lost: nothing that was queued for the old one arrives on the new one
 * unasked, and the owner, who knows what is still waited for, sends that again.
 */
export class Link {
  /** What the owner writes; `flush` or `flushSoon` sends it. */
  readonly writer = new BatchWriter();
  /** Messages sent since it was made. */
  messageCount = 0;
  /** The largest record with its frames that the broker takes, in bytes. */
  recordMax = 0;
  /** Whether so much waits for what is being sent that what can wait elsewhere should. */
  isBehind = false;
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  #transport: NetTransport | undefined;
  #isOpen = false;
  #isClosed = false;
  #isSending = false;
  /** Batches that are full, and wait for the one that is being sent. */
  readonly #full: Uint8Array[][] = [];
  #fullBytes = 0;
  #isFlushDue = false;
  #onSent: (() => void) | undefined;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
    this.#connect();
  }

  get endpoint(): string {
    return this.#options.endpoint;
  }

  /** The same, as the present connection found it: an address where that is a host's name. */
  get peerEndpoint(): string {
    return this.#transport?.peerEndpoint ?? this.endpoint;
  }

  /** Whether what is written now goes out. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The broker said WELCOME: it is one, and the next wait before connecting again starts small. */
  welcomed(recordMax: number): void {
    clearTimeout(this.#timer);
    this.#failures = 0;
    this.recordMax = recordMax;
    this.#transport?.welcomed(recordMax);
  }

  /** Sends what is written, at the latest when the present turn of the event loop ends. */
  flushSoon(isUrgent: boolean): void {
    if (this.#isSending) this.#noteBehind();
    if (this.writer.isFull) {
      if (this.#isSending) this.#keepFull();
      else this.flush();
      return;
    }
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    // With little under way nothing is gained by waiting for more to send along.
    if (isUrgent) queueMicrotask(this.#flushDue);
    else setImmediate(this.#flushDue);
  }

  #noteBehind(): void {
    const { size, frameBytes } = this.writer;
    this.isBehind = this.#fullBytes + size + frameBytes >= BEHIND_BYTES_MIN;
  }

  #keepFull(): void {
    const message = this.writer.finish();
    this.#full.push(message);
    this.#fullBytes += bytesOf(message);
  }

  #flushDue = (): void => {
    this.#isFlushDue = false;
    this.flush();
  };

  /** Sends what is written. */
  flush(): void {
    if (this.#isSending || !this.#isOpen) return;
    const transport = this.#transport as NetTransport;
    while (this.#transport === transport && this.#hasUnsent()) {
      this.messageCount++;
      const sent = transport.send(this.#takeFull() ?? this.writer.finish());
      if (sent === undefined) continue;
      this.#isSending = true;
      void this.#goOnAfter(sent, transport);
      return;
    }
  }

  #takeFull(): Uint8Array[] | undefined {
    const message = this.#full.shift();
    if (message !== undefined) this.#fullBytes -= bytesOf(message);
    return message;
  }

  #hasUnsent(): boolean {
    return this.#full.length > 0 || !this.writer.isEmpty;
  }

  async #goOnAfter(sent: Promise<void>, transport: NetTransport): Promise<void> {
    await sent;
    if (this.#transport === transport) {
      const wasBehind = this.isBehind;
      this.#isSending = false;
      this.isBehind = false;
      this.flush();
      if (this.#isSending) this.#noteBehind();
      if (wasBehind && !this.isBehind) this.#events.onCaughtUp?.();
    }
    if (!this.#isSending) this.#onSent?.();
  }

  /** Resolves when all is sent that was written, or cannot be, or after `timeoutMs`. */
  async #untilSent(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onSent = resolve;
      timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
  }

  /** Gives up this connection, which cannot be used, and makes a new one after a while. */
  reset(reason: string): void {
    if (this.#transport !== undefined) this.#lost(this.#transport, reason);
  }

  /** Closes at once, or after what is written went out. Nothing is told afterwards. */
  async close(lingerMs = 0): Promise<void> {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    // With a message under way, the rest waits for it.
    if (lingerMs > 0 && this.#isSending) await this.#untilSent(lingerMs);
    clearTimeout(this.#timer);
    const transport = this.#transport;
    this.#transport = undefined;
    this.#isOpen = false;
    transport?.close(lingerMs);
  }

  #connect(): void {
    this.#isSending = false;
    const events: TransportEvents = {
      onOpen: () => {
        if (this.#transport !== transport) return;
        this.#isOpen = true;
        this.#events.onOpen();
      },
      onMessage: (frames) => {
        if (this.#transport === transport) this.#events.onMessage(frames);
      },
      onLost: (reason) => this.#lost(transport, reason),
    };
    const transport: NetTransport = new NetTransport(this.#options, events);
    this.#transport = transport;
    this.#timer = setTimeout(
      () => this.#lost(transport, `no ${this.#isOpen ? "WELCOME" : "connection"} in time`),
      this.#options.handshakeTimeoutMs,
    );
  }

  #lost(transport: NetTransport, reason: string): void {
    if (this.#transport !== transport) return;
    this.#transport = undefined;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    transport.close(0);
    this.#full.length = 0;
    this.#fullBytes = 0;
    this.isBehind = false;
    if (!this.writer.isEmpty) this.writer.finish();
    const { reconnectMsMin, reconnectMsMax } = this.#options;
    const ceilingMs = Math.min(reconnectMsMin * 2 ** this.#failures++, reconnectMsMax);
    this.#timer = setTimeout(() => this.#connect(), ceilingMs * (0.5 + Math.random() / 2));
    this.#events.onDown(reason);
  }
}

function bytesOf(message: readonly Uint8Array[]): number {
  return message.reduce((sum, { length }) => sum + length, 0);
}
