import { Dealer } from "zeromq";
import { BatchWriter } from "../wire/batch.js";
import { addBallast } from "./ballast.js";
import { type CurveKeys, curveOptions, handshakeFailure } from "./curve.js";
import { Reading } from "./reading.js";

/** A batch of this many bytes is sent at once, whatever else the turn may bring. */
const BATCH_BYTES_MAX = 32 * 1024;
/** The same with the frames of large bodies, which are not copied: fewer messages are better then. */
const MESSAGE_BYTES_MAX = 64 * 1024;

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
  /** Whether what has come in already is still delivered when the peer disconnects. */
  isReadToEnd?: boolean;
}

export interface LinkEvents {
  /** The connection stands. What is written from here on goes over this one connection. */
  onOpen(): void;
  onMessage(frames: Buffer[]): void;
  /** The connection is lost, and all that was under way on it. A new one is tried. */
  onDown(reason: string): void;
}

/** Messages in a row after which other sockets and timers get a turn. */
const MESSAGES_PER_TURN = 64;
const BATCHES_QUEUED_MAX = 64;
/** A port that a broker just named answers at once, or something stands in between. */
const REDIRECT_TIMEOUT_MS = 1000;

/**
 * One connection to a broker at a time, and its one writer. Each connection is a socket of its
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
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  #socket: Dealer | undefined;
  #isOpen = false;
  #isClosed = false;
  #isSending = false;
  #reading = new Reading();
  #isFlushDue = false;
  #onSent: (() => void) | undefined;
  #failures = 0;
  /** Where the next connection goes. */
  #target: string;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
    this.#target = options.endpoint;
    this.#connect();
  }

  get endpoint(): string {
    return this.#options.endpoint;
  }

  /** Whether the connection is to another endpoint of the same broker, see `redirect`. */
  get isRedirected(): boolean {
    return this.#target !== this.#options.endpoint;
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
  }

  /** Sends what is written, at the latest when the present turn of the event loop ends. */
  flushSoon(isUrgent: boolean): void {
    const { size, frameBytes } = this.writer;
    if (size >= BATCH_BYTES_MAX || size + frameBytes >= MESSAGE_BYTES_MAX) return this.flush();
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    // With little under way nothing is gained by waiting for more to send along.
    if (isUrgent) queueMicrotask(this.#flushDue);
    else setImmediate(this.#flushDue);
  }

  #flushDue = (): void => {
    this.#isFlushDue = false;
    this.flush();
  };

  /** Sends what is written. */
  flush(): void {
    if (this.#isSending || !this.#isOpen || this.writer.isEmpty) return;
    this.#isSending = true;
    void this.#send(this.#socket as Dealer);
  }

  async #send(socket: Dealer): Promise<void> {
    try {
      while (this.#socket === socket && !this.writer.isEmpty) {
        this.messageCount++;
        await socket.send(this.writer.finish());
      }
    } catch (error) {
      // Closed meanwhile, and the owner told; or else what was written is gone, and it must be told.
      if (this.#socket === socket) this.#lost(socket, (error as Error).message);
    } finally {
      if (this.#socket === socket) this.#isSending = false;
      this.#onSent?.();
    }
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
    if (this.#socket !== undefined) this.#lost(this.#socket, reason);
  }

  /**
   * Gives up this connection for one to another endpoint of the same broker, without a word to the
   * owner. When that fails or ends, the next one is to the link's own endpoint again.
   */
  redirect(endpoint: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    if (socket !== undefined && !socket.closed) socket.close();
    if (!this.writer.isEmpty) this.writer.finish();
    this.#target = endpoint;
    this.#connect();
  }

  /** Closes at once, or after what is written went out. Nothing is told afterwards. */
  async close(lingerMs = 0): Promise<void> {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    // With a message under way, the rest waits for it.
    if (lingerMs > 0 && this.#isSending) await this.#untilSent(lingerMs);
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    this.#isOpen = false;
    if (socket === undefined || socket.closed) return;
    socket.linger = lingerMs;
    socket.close();
  }

  #connect(): void {
    const { heartbeatIntervalMs, heartbeatTimeoutMs, curve } = this.#options;
    const handshakeTimeoutMs = this.isRedirected
      ? Math.min(REDIRECT_TIMEOUT_MS, this.#options.handshakeTimeoutMs)
      : this.#options.handshakeTimeoutMs;
    const socket = new Dealer({
      linger: 0,
      // Reconnecting is ours, see above. Not -1: libzmq then drops what has come in at a disconnect.
      reconnectInterval: 3_600_000,
      sendHighWaterMark: BATCHES_QUEUED_MAX,
      // None: what comes is bounded by what was asked for, or by the credits given. At a mark libzmq
      // 4.3.5 stops to read, and if the broker is gone then, a heartbeat makes it abort the process.
      receiveHighWaterMark: 0,
      heartbeatInterval: heartbeatIntervalMs,
      heartbeatTimeout: heartbeatTimeoutMs,
      heartbeatTimeToLive: heartbeatTimeoutMs,
      handshakeInterval: handshakeTimeoutMs,
      ...(curve === undefined ? {} : curveOptions(curve)),
    });
    this.#socket = socket;
    this.#isSending = false;
    this.#reading = new Reading();
    this.#timer = setTimeout(
      () => this.#lost(socket, `no ${this.#isOpen ? "WELCOME" : "connection"} in time`),
      handshakeTimeoutMs,
    );
    void this.#watch(socket);
    try {
      socket.connect(this.#target);
    } catch (error) {
      // Later: whoever makes a link does not have it yet.
      queueMicrotask(() => this.#lost(socket, (error as Error).message));
      return;
    }
    void this.#receive(socket);
  }

  /** Follows the life of the connection through the socket's monitor. */
  async #watch(socket: Dealer): Promise<void> {
    try {
      for await (const event of socket.events) {
        if (this.#socket !== socket) return;
        switch (event.type) {
          case "handshake":
            this.#isOpen = true;
            this.#events.onOpen();
            break;
          case "disconnect":
            this.#isOpen = false;
            // The notice overtakes the messages: a broker that drains sends its last replies and
            // closes.
            if (this.#options.isReadToEnd !== true) this.#lost(socket, event.type);
            else this.#reading.onDry(() => this.#lost(socket, event.type));
            return;
          case "close":
            this.#lost(socket, "connection refused");
            return;
          case "handshake:error:protocol":
          case "handshake:error:auth":
          case "handshake:error:other":
            this.#lost(socket, handshakeFailure(event, this.#options.curve));
            return;
          default:
        }
      }
    } catch {
      // The monitor ends with its socket.
    }
  }

  async #receive(socket: Dealer): Promise<void> {
    const reading = this.#reading;
    let messageCount = 0;
    try {
      while (this.#socket === socket) {
        reading.begin();
        const frames = await socket.receive();
        reading.end();
        if (this.#socket !== socket) return;
        addBallast(frames);
        this.#events.onMessage(frames);
        if (++messageCount % MESSAGES_PER_TURN === 0) {
          await new Promise<void>((resolve) => setImmediate(resolve));
        }
      }
    } catch (error) {
      if (this.#socket === socket) this.#lost(socket, (error as Error).message);
    }
  }

  #lost(socket: Dealer, reason: string): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    if (!socket.closed) socket.close();
    if (!this.writer.isEmpty) this.writer.finish();
    const { endpoint, reconnectMsMin, reconnectMsMax } = this.#options;
    const ceilingMs = Math.min(reconnectMsMin * 2 ** this.#failures++, reconnectMsMax);
    this.#timer = setTimeout(
      () => {
        this.#target = endpoint;
        this.#connect();
      },
      ceilingMs * (0.5 + Math.random() / 2),
    );
    this.#events.onDown(reason);
  }
}
