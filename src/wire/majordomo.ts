// The Majordomo protocol's frames to commands and back: MDP/0.1 (rfc.zeromq.org/spec/7) and MDP/0.2
// (rfc.zeromq.org/spec/18). PROTOCOL 4.2 says how the broker takes part in it. Pure.

/** 1 is MDP/0.1, 2 is MDP/0.2. */
export type MajordomoVersion = 1 | 2;

/**
 * How a peer speaks. MDP/0.1 has an empty frame before the header. Spec 18 took it away, yet its
 * reference implementation and others keep it, so each peer of 0.2 is answered as it writes.
 */
export interface Dialect {
  readonly version: MajordomoVersion;
  readonly isDelimited: boolean;
}

/** What a client or a worker says. Frames are those of the message, not copied. */
export type MajordomoCommand =
  | { kind: "request"; service: Uint8Array; body: readonly Uint8Array[] }
  | { kind: "ready"; service: Uint8Array }
  /** The whole reply: REPLY of 0.1, FINAL of 0.2. */
  | { kind: "reply"; address: Uint8Array; body: readonly Uint8Array[] }
  | { kind: "part"; address: Uint8Array; body: readonly Uint8Array[] }
  | { kind: "heartbeat" }
  | { kind: "disconnect" }
  | { kind: "malformed" };

export interface MajordomoMessage {
  readonly from: "client" | "worker";
  readonly dialect: Dialect;
  readonly command: MajordomoCommand;
}

const HEADER_SIZE = 6;
/** "MDP", "C" or "W", then the version: 01 or 02. */
const HEADERS = {
  client: [Buffer.from("MDPC01"), Buffer.from("MDPC02")],
  worker: [Buffer.from("MDPW01"), Buffer.from("MDPW02")],
} as const;
const EMPTY = Buffer.alloc(0);

/** The bytes of commands. */
const REQUEST_OF_CLIENT = 1;
const PARTIAL_TO_CLIENT = Buffer.of(2);
const FINAL_TO_CLIENT = Buffer.of(3);
const READY = 1;
const REQUEST_TO_WORKER = Buffer.of(2);
const WORKER_COMMANDS: readonly (readonly ("reply" | "part" | "heartbeat" | "disconnect")[])[] = [
  ["reply", "heartbeat", "disconnect"],
  ["part", "reply", "heartbeat", "disconnect"],
];
/** Of those, the first. */
const AFTER_REQUEST = 3;

/** What a message that begins at `frames[first]` says in Majordomo; undefined where it is none of its. */
export function readMajordomo(
  frames: readonly Uint8Array[],
  first: number,
): MajordomoMessage | undefined {
  const isDelimited = frames[first].length === 0;
  const at = isDelimited ? first + 1 : first;
  const header = frames[at];
  if (header === undefined || header.length !== HEADER_SIZE) return undefined;
  for (const from of ["client", "worker"] as const) {
    const index = HEADERS[from].findIndex((known) => known.equals(header));
    if (index === -1) continue;
    // 0.1 is never without it.
    if (index === 0 && !isDelimited) return undefined;
    const dialect: Dialect = { version: index === 0 ? 1 : 2, isDelimited };
    const rest = frames.slice(at + 1);
    const command = from === "client" ? readClient(dialect, rest) : readWorker(dialect, rest);
    return { from, dialect, command };
  }
  return undefined;
}

const MALFORMED: MajordomoCommand = { kind: "malformed" };

/**
 *     0.1: | service | body .. |
 *     0.2: | 01 REQUEST | service | body .. |
 */
function readClient({ version }: Dialect, rest: readonly Uint8Array[]): MajordomoCommand {
  if (version === 2 && byteOf(rest[0]) !== REQUEST_OF_CLIENT) return MALFORMED;
  const [service, ...body] = version === 1 ? rest : rest.slice(1);
  if (service === undefined) return MALFORMED;
  return { kind: "request", service, body: bodyOf(body) };
}

/**
 *     0.1: 01 READY | service
 *          03 REPLY | address | empty | body ..
 *          04 HEARTBEAT, 05 DISCONNECT
 *     0.2: 01 READY | service
 *          03 PARTIAL, 04 FINAL | address | empty | body ..
 *          05 HEARTBEAT, 06 DISCONNECT
 */
function readWorker({ version }: Dialect, rest: readonly Uint8Array[]): MajordomoCommand {
  const ordinal = byteOf(rest[0]);
  if (ordinal === READY) {
    return rest[1] === undefined ? MALFORMED : { kind: "ready", service: rest[1] };
  }
  const kind = WORKER_COMMANDS[version - 1][ordinal - AFTER_REQUEST];
  if (kind === undefined) return MALFORMED;
  if (kind === "heartbeat" || kind === "disconnect") return { kind };
  const [, address, empty, ...body] = rest;
  if (address === undefined || empty?.length !== 0) return MALFORMED;
  return { kind, address, body: bodyOf(body) };
}

/** The one byte of a command's frame; 0, which is none, for any other frame. */
function byteOf(frame: Uint8Array | undefined): number {
  return frame?.length === 1 ? frame[0] : 0;
}

/** A body has a frame at least: one that has none is empty, and no reason to leave its sender without answer. */
function bodyOf(body: readonly Uint8Array[]): readonly Uint8Array[] {
  return body.length === 0 ? [EMPTY] : body;
}

// --- writing ---

/** REQUEST to a worker: what it is to send back before its reply, and the body. */
export function requestToWorker(
  dialect: Dialect,
  address: Uint8Array,
  body: readonly Uint8Array[],
): Uint8Array[] {
  return workerMessage(dialect, [REQUEST_TO_WORKER, address, EMPTY, ...body]);
}

export function heartbeatToWorker(dialect: Dialect): Uint8Array[] {
  return workerMessage(dialect, [Buffer.of(dialect.version === 1 ? 4 : 5)]);
}

export function disconnectToWorker(dialect: Dialect): Uint8Array[] {
  return workerMessage(dialect, [Buffer.of(dialect.version === 1 ? 5 : 6)]);
}

/** A reply to a client, or, `isPart`, one of several; 0.1 has no parts. */
export function replyToClient(
  { version, isDelimited }: Dialect,
  service: Uint8Array,
  body: readonly Uint8Array[],
  isPart = false,
): Uint8Array[] {
  const ordinal = version === 1 ? [] : [isPart ? PARTIAL_TO_CLIENT : FINAL_TO_CLIENT];
  const message = [HEADERS.client[version - 1], ...ordinal, service, ...body];
  return isDelimited ? [EMPTY, ...message] : message;
}

function workerMessage({ version, isDelimited }: Dialect, rest: Uint8Array[]): Uint8Array[] {
  const message = [HEADERS.worker[version - 1], ...rest];
  return isDelimited ? [EMPTY, ...message] : message;
}

/** The address that a worker is given names the attempt: | slot u32 | generation u32 |. */
export function addressOf(slot: number, generation: number): Uint8Array {
  const address = Buffer.alloc(8);
  address.writeUInt32LE(slot, 0);
  address.writeUInt32LE(generation, 4);
  return address;
}

/** The attempt that an address names; one that there never is where it is none of ours. */
export function attemptOf(address: Uint8Array): { slot: number; generation: number } {
  if (address.length !== 8) return { slot: 0xffffffff, generation: 0 };
  const view = new DataView(address.buffer, address.byteOffset, 8);
  return { slot: view.getUint32(0, true), generation: view.getUint32(4, true) };
}
