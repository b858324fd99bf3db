// One connection of ZMTP 2.0 or 3.x, behind the handshake of the NULL mechanism or of CURVE: messages in,
// messages out, PING and PONG. The socket is node:net's: where libzmq would be, two threads and two
// switches between them stand for every message that comes in or goes out.
import type { Socket } from "node:net";
import { CurveReader } from "./curve-reader.js";
import type { CurveSession } from "./curve-session.js";
import { type FrameFault, FrameReader, readPing } from "./frames.js";
import type { ZmtpVersion } from "./greeting.js";
import type { Beating, Heartbeat } from "./heartbeat.js";
import { READ_BYTES_MAX, readAccepted } from "./reading.js";
import { SocketWriter } from "./writing.js";

/** Why a connection ended: by the peer or the system, by its silence, or by what it sent. */
export type ConnectionEnd = "closed" | "silent" | "peer-error" | FrameFault;

export interface ConnectionOptions {
  version: ZmtpVersion;
  /** Whether the peer has said to speak ZMTP 3.1, which knows PING. */
  knowsPing: boolean;
  /** Bytes of one message, all parts together; -1 for no limit. */
  messageBytesMax: number;
  heartbeat: Heartbeat;
  /** The peer may be silent for as long as it likes, and is not asked whether it is there. */
  isPatient?: boolean;
  /** Without CURVE too, PING only if it `knowsPing`: what a socket of ZMTP 3.0 does not know it may take for a message. */
  isPingForKnowing?: boolean;
  /** What each message is handed on behind. */
  head?: readonly Buffer[];
  /** Under CURVE: what seals and opens all that goes over it. */
  curve?: CurveSession;
}

export interface ConnectionEvents {
  /** Most parts are good until this returns, see FrameReader. */
  onMessage(parts: Buffer[]): void;
  /** A command that is none of every socket's, good until this returns. */
  onCommand?(name: string, data: Buffer): void;
  /** All that was read is handed on. */
  onRead?(): void;
  /** After `isBlocked`: the system has taken all that was sent. */
  onDrained?(): void;
  /** Exactly once, and never within `send`. */
  onEnd(why: ConnectionEnd): void;
}

/** Of our PING: how long a peer waits for us is its own choice. */
const NO_TIME_TO_LIVE = Buffer.alloc(2);

/** Of a peer that is not asked whether it is there, TCP asks after so long a silence, and gives it up some minutes later. */
const KEEP_ALIVE_MS = 60_000;

/** So many messages and commands are told, then others have a turn: one read may hold a hundred thousand of them. */
const TOLD_MAX = 1024;

/** Node.js reads up to 32 times in a row from one socket: 8 MiB, and who sends so much would hold up all others. */
const FULL_READS_MAX = 2;

export class Connection implements Beating {
  /**
   * A peer that answers PING with the thread that also runs its application may be silent for so many times
   * as long.
   */
  patience = 1;
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  readonly #reader: FrameReader;
  /** Under CURVE, behind the reader. */
  readonly #opener: CurveReader | undefined;
  #socket!: Socket;
  #writer!: SocketWriter;
  #heardCount = 0;
  #heardBefore = 0;
  /** Reads in a row that left more to read. */
  #fullReads = 0;
  /** Messages and commands told since others had a turn. */
  #toldCount = 0;
  /** That were as many as may be: the rest of what was read waits for the next turn. */
  #isHeld = false;
  /** The context of the last PING that is not answered yet. */
  #pinged: Buffer | undefined;
  #unsentBefore = 0;
  #silentBeats = 0;
  /** Beats after which the peer, by its own word, is gone if it is not heard; 0: it has not said. */
  #ttlBeats = 0;
  /** A PING is out, or could not go out, and nothing was heard since. */
  #isAsked = false;
  #mustAnswer: boolean;
  #isPaused = false;
  #end: ConnectionEnd = "closed";
  #isEnded = false;

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
    this.#mustAnswer = options.knowsPing;
    const { messageBytesMax, head, curve } = options;
    const sink = {
      onMessage: (parts: Buffer[]) => {
        this.#count();
        events.onMessage(parts);
      },
      onCommand: (name: string, data: Buffer) => {
        this.#count();
        this.#onCommand(name, data);
      },
      onFault: (fault: FrameFault) => this.#fail(fault),
    };
    if (curve === undefined) {
      this.#reader = new FrameReader(messageBytesMax, sink, head);
    } else {
      this.#opener = new CurveReader(curve, messageBytesMax, sink, head);
      this.#reader = new FrameReader(CurveReader.frameSizeMax(messageBytesMax), this.#opener);
    }
  }

  /**
   * Takes over an accepted connection, and says `ready`. `bytes` is what of its traffic was read with its
   * handshake.
   */
  accept(peer: Socket, ready: Buffer, bytes: Buffer): void {
    this.attach(readAccepted(peer, this.take));
    this.#socket.write(ready);
    if (bytes.length > 0) this.take(bytes);
  }

  /** Speaks over `socket`, which gives what is read to `take`. */
  attach(socket: Socket): void {
    const { curve } = this.#options;
    this.#socket = socket;
    this.#writer = new SocketWriter(socket, curve, () => this.#events.onDrained?.());
    socket.on("error", ignoreError);
    socket.on("close", this.#onClose);
    // Whoever has ended reads no more either: a peer that goes, goes.
    socket.on("end", () => {
      this.#readHeld();
      this.close();
    });
    this.#options.heartbeat.add(this);
    // One of ZMTP 3.0 passes over PING: it would be asked once, and never found out.
    const { isPatient, knowsPing } = this.#options;
    if (isPatient || !knowsPing || !this.#mayPing) socket.setKeepAlive(true, KEEP_ALIVE_MS);
  }

  /**
   * ZMTP 3.0 passes over commands that it does not know. Not in a box: libzmq 4.1 takes what is in one for a message,
   * whatever it is.
   */
  get #mayPing(): boolean {
    const { version, knowsPing, isPingForKnowing, curve } = this.#options;
    return version === 3 && (knowsPing || (curve === undefined && !isPingForKnowing));
  }

  /** From now on so many bytes of one message, all parts together. */
  limit(messageBytesMax: number): void {
    this.#opener?.limit(messageBytesMax);
    const isBoxed = this.#opener !== undefined;
    this.#reader.limit(isBoxed ? CurveReader.frameSizeMax(messageBytesMax) : messageBytesMax);
  }

  /** What was read. Returns whether to read on at once: others have a turn between. */
  readonly take = (bytes: Buffer): boolean => {
    this.#heardCount++;
    if (!this.#isHeld) this.#toldCount = 0;
    this.#onRead(this.#reader.read(bytes));
    if (this.#isPaused) return false;
    this.#fullReads = bytes.length < READ_BYTES_MAX ? 0 : this.#fullReads + 1;
    if (this.#fullReads < FULL_READS_MAX && !this.#isHeld) return true;
    this.#fullReads = 0;
    setImmediate(this.#goOn);
    return false;
  };

  /** Others had their turn. */
  #goOn = (): void => {
    // Who paused it meanwhile resumes it.
    if (this.#isPaused || this.isEnded) return;
    if (this.#isHeld) this.#readRest();
    else this.#socket.resume();
  };

  /** What was read, and not told yet. */
  #readRest(): void {
    // It is heard as late as this, and not read before.
    this.#heardCount++;
    this.#toldCount = 0;
    this.#isHeld = false;
    this.#onRead(this.#reader.resume());
    if (this.#isPaused) return;
    if (this.#isHeld) setImmediate(this.#goOn);
    else this.#socket.resume();
  }

  /** Nothing more comes, and no turn either: what was read is told now. */
  #readHeld(): void {
    while (this.#isHeld && !this.#isPaused) this.#readRest();
  }

  #count(): void {
    if (++this.#toldCount !== TOLD_MAX) return;
    this.#isHeld = true;
    this.#reader.pause();
  }

  /** As much was told as may be at once. */
  #onRead(fault: FrameFault | undefined): void {
    const context = this.#pinged;
    this.#pinged = undefined;
    // Of many the last alone: any of them says that we are here. Else it hears from us as soon as it reads.
    if (context !== undefined && !this.isBlocked && this.#socket.writable) {
      this.#writer.sendCommand("PONG", context);
    }
    if (fault !== undefined) this.#fail(fault);
    this.#events.onRead?.();
  }

  /** Behind the message that is being told nothing more is read, until `resume`: the peer is held up, and not waited for. */
  pause(): void {
    this.#isPaused = true;
    this.#reader.pause();
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused || this.isEnded) return;
    this.#isPaused = false;
    this.#readRest();
  }

  /** Whether the system has not taken all that was sent: what is sent now takes memory. */
  get isBlocked(): boolean {
    return this.#writer.isBlocked;
  }

  /** Whether what was sent waits for its turn to be sealed: for us, not for the peer. */
  get isSealing(): boolean {
    return this.#writer.isSealing;
  }

  get isEnded(): boolean {
    return this.#isEnded || this.#socket.destroyed;
  }

  /** Bytes that were sent and that the system has not taken. */
  get unsentBytes(): number {
    return this.#writer.unsentBytes;
  }

  /** Sends a message, see SocketWriter; nothing where the connection has ended. */
  send(parts: readonly Uint8Array[]): void {
    if (!this.#socket.destroyed) this.#writer.send(parts);
  }

  /** The same of several. */
  sendAll(messages: readonly (readonly Uint8Array[])[]): void {
    if (!this.#socket.destroyed) this.#writer.sendAll(messages);
  }

  /** The same of what is encoded already. */
  sendEncoded(pieces: readonly Uint8Array[]): void {
    if (!this.#socket.destroyed) this.#writer.sendEncoded(pieces);
  }

  /** Ends at once. */
  close(): void {
    this.#stopReading();
    this.#socket.destroy();
  }

  #stopReading(): void {
    this.#reader.stop();
    this.#opener?.stop();
  }

  /** Takes nothing more, and ends when all is sent and the peer has seen it, at the latest after `lingerMs`. */
  finish(lingerMs: number): void {
    if (lingerMs === 0 || this.isEnded) return this.close();
    this.#stopReading();
    const timer = setTimeout(() => this.close(), lingerMs);
    this.#socket.once("close", () => clearTimeout(timer));
    this.#writer.end();
  }

  /** The same, for a reason that is known elsewhere. */
  endAs(why: ConnectionEnd): void {
    this.#fail(why);
  }

  beat(): void {
    // We have said our last, and wait no longer than told to; or nobody listens.
    if (this.#socket.writableEnded || this.#isPaused) return;
    const { beatsToPing, beatsToEnd } = this.#options.heartbeat;
    // Nor is it silent that waits for us.
    if (this.isSealing) this.#heardCount++;
    const unsent = this.isBlocked ? this.unsentBytes : 0;
    if (this.#heardCount !== this.#heardBefore || unsent < this.#unsentBefore) {
      this.#heardBefore = this.#heardCount;
      this.#unsentBefore = unsent;
      this.#silentBeats = 0;
      this.#isAsked = false;
      return;
    }
    this.#unsentBefore = unsent;
    const silentBeats = ++this.#silentBeats;
    if (this.#ttlBeats > 0 && silentBeats >= this.#ttlBeats) return this.#endUnlessHeard();
    if (silentBeats < beatsToPing || this.#options.isPatient) return;
    if (!this.#isAsked) {
      this.#isAsked = true;
      // Behind what the peer does not take it would wait: whether it takes any is the question then.
      if (unsent === 0 && this.#mayPing) this.#writer.sendCommand("PING", NO_TIME_TO_LIVE);
      return;
    }
    if (silentBeats < beatsToEnd * this.patience) return;
    if (this.#mustAnswer || unsent > 0) this.#endUnlessHeard();
  }

  /** After a turn: this process may have been busy for so long itself, and not have read. */
  #endUnlessHeard(): void {
    const heardCount = this.#heardCount;
    setImmediate(() => {
      if (heardCount === this.#heardCount) this.#fail("silent");
    });
  }

  #onCommand(name: string, data: Buffer): void {
    switch (name) {
      case "PING":
        return this.#onPing(data);
      case "PONG":
        this.#mustAnswer = true;
        return;
      case "ERROR":
        return this.#fail("peer-error");
      default: // READY, which the handshake has read, what only some sockets say, or of a later ZMTP.
        this.#events.onCommand?.(name, data);
    }
  }

  #onPing(data: Buffer): void {
    const said = readPing(data);
    if (said === undefined) return this.#fail("frame-malformed");
    this.#ttlBeats = Math.ceil(said.ttlMs / this.#options.heartbeat.beatMs);
    // Copied: what it lies in is good until this returns.
    this.#pinged = Buffer.from(said.context);
  }

  #fail(why: ConnectionEnd): void {
    if (this.#isEnded || this.#end !== "closed") return;
    this.#end = why;
    this.close();
  }

  #onClose = (): void => {
    this.#readHeld();
    this.#isEnded = true;
    this.#options.heartbeat.delete(this);
    this.#stopReading();
    this.#writer.close();
    this.#options.curve?.end();
    this.#events.onEnd(this.#end);
  };
}

function ignoreError(): void {
  // Every error is followed by 'close', which is acted upon.
}
