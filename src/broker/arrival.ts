// How a connection that was let in becomes one: what we say first, and what is told of it.
import type { Socket } from "node:net";
import type { Access } from "../base/access.js";
import { Connection, type ConnectionEnd } from "../zmtp/connection.js";
import type { CurveSession } from "../zmtp/curve-session.js";
import { encodeProperties, encodeReady, encodeReady2 } from "../zmtp/encode.js";
import { greetingSize, knowsPing, type ZmtpVersion } from "../zmtp/greeting.js";
import type { Heartbeat } from "../zmtp/heartbeat.js";
import type { Accepted } from "../zmtp/listener.js";

export interface ArrivalEvents {
  /** Most parts are good until this returns, see FrameReader. */
  onMessage(parts: Buffer[]): void;
  onCommand?(name: string, data: Buffer): void;
  onDrained?(): void;
  onGone(why: ConnectionEnd): void;
}

/** To what an Arrival reports. */
export interface ArrivalOptions {
  readonly messageBytesMax: number;
  readonly heartbeat: Heartbeat;
  readonly isPatient: boolean;
  readonly isPingForKnowing: boolean;
  onRead(): void;
  onEnd(arrival: Arrival, why: ConnectionEnd): void;
}

/** Where a peer of ZMTP 2.0 has its identity, a frame, and its messages behind that. */
const IDENTITY_2_OFFSET = 12;

/** A connection that was let in. */
export class Arrival {
  readonly socketType: string;
  readonly remote: string;
  readonly #version: ZmtpVersion;
  readonly #knowsPing: boolean;
  /** Until it begins: what came with its handshake is part of a whole read. */
  #start: { peer: Socket; opening: Opening } | undefined;
  readonly #options: ArrivalOptions;
  #connection: Connection | undefined;

  constructor(
    accepted: Accepted,
    role: string,
    /** What its key may do; undefined where nobody shows one. */
    readonly access: Access | undefined,
    options: ArrivalOptions,
  ) {
    this.socketType = accepted.socketType;
    this.remote = accepted.remote;
    this.#version = accepted.version;
    this.#knowsPing = knowsPing(accepted.bytes);
    this.#start = { peer: accepted.peer, opening: openingOf(accepted, role) };
    this.#options = options;
  }

  /** Takes it over, once; each message is handed on behind `head`. Nothing comes in before `begin`. */
  connect(on: ArrivalEvents, head: readonly Buffer[] = []): Connection {
    const version = this.#version;
    const { messageBytesMax, heartbeat, isPatient, isPingForKnowing, onRead } = this.#options;
    // Of ZMTP 2.0 the identity comes first, and looks like a message.
    let isIdentity = version === 2;
    this.#connection = new Connection(
      {
        version,
        knowsPing: this.#knowsPing,
        messageBytesMax,
        heartbeat,
        isPatient,
        isPingForKnowing,
        head,
        curve: this.#start?.opening.session,
      },
      {
        onMessage: (parts) => {
          if (isIdentity) isIdentity = false;
          else on.onMessage(parts);
        },
        onCommand: (name, data) => on.onCommand?.(name, data),
        onRead,
        onDrained: () => on.onDrained?.(),
        onEnd: (why) => {
          this.#options.onEnd(this, why);
          on.onGone(why);
          onRead();
        },
      },
    );
    return this.#connection;
  }

  /** Says READY, and reads. */
  begin(): void {
    const { peer, opening } = this.#start as { peer: Socket; opening: Opening };
    this.#start = undefined;
    this.#connection?.accept(peer, opening.ready, opening.bytes);
  }

  get isEnded(): boolean {
    return this.#connection?.isEnded === true;
  }

  /** Ends it at once. */
  close(): void {
    this.#connection?.close();
  }

  /** Ends it when all is sent, at the latest after `lingerMs`. */
  finish(lingerMs: number): void {
    this.#connection?.finish(lingerMs);
  }
}

/** How a connection is taken over: what we say first, what came behind the handshake, and what it is under. */
interface Opening {
  ready: Buffer;
  bytes: Buffer;
  session: CurveSession | undefined;
}

/** For one that we are a socket of type `role` for. */
function openingOf({ bytes, rest, version, curve }: Accepted, role: string): Opening {
  if (curve !== undefined) {
    return { ...curve.server.ready(encodeProperties(role)), bytes: rest };
  }
  // READY is read once more, and passed over.
  const [ready, start] =
    version === 2 ? [encodeReady2(role), IDENTITY_2_OFFSET] : [encodeReady(role), greetingSize];
  return { ready, bytes: bytes.subarray(start), session: undefined };
}
