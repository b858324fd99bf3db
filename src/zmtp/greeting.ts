// The start of a connection of ZMTP: the greeting, and the NULL mechanism's READY,
// enough to learn a peer's socket type, or CURVE's HELLO. Pure: bytes in, values out, never throws.
// RFC 15 (ZMTP 2.0: JeroMQ 0.3, libzmq 3.2) https://rfc.zeromq.org/spec/15
// RFC 23 (ZMTP 3.0) https://rfc.zeromq.org/spec/23, RFC 37 (ZMTP 3.1) https://rfc.zeromq.org/spec/37,
// RFC 26 (CurveZMQ) https://rfc.zeromq.org/spec/26

/** Why bytes are no handshake that can be served. Stable names: counters are keyed by them. */
export type HandshakeFault =
  | "not-zmtp"
  | "zmtp-version"
  | "mechanism"
  | "peer-error"
  | "ready-malformed"
  | "ready-too-large"
  | "hello-malformed";

/** How a connection is secured. */
export type Mechanism = "NULL" | "CURVE";

/** 3 stands for all of 3.x. */
export type ZmtpVersion = 2 | 3;

/** What the bytes of a connection's start amount to so far. */
export type Handshake =
  | { state: "partial" }
  /** Of a CURVE peer the socket type is "": it is told in INITIATE. */
  | { state: "ready"; socketType: string; version: ZmtpVersion }
  | { state: "faulty"; fault: HandshakeFault; detail: string };

export type GreetingCheck =
  | { state: "partial" }
  | { state: "whole"; version: ZmtpVersion }
  | Extract<Handshake, { state: "faulty" }>;

export const greetingSize = 64;
/**
 * The signature and the major version, which peers of either version read alike. What is sent behind
 * them depends on the version that the peer has said by then.
 */
export const greetingHeadSize = 11;
/** Largest READY body taken. libzmq's own is under 300 bytes: an identity is at most 255. */
export const readySizeMax = 8192;

/** CURVE's HELLO, see curve-handshake.ts. */
export const helloSize = 200;

const signatureSize = 10;
const majorOffset = 10;
const mechanismOffset = 12;
const mechanismSize = 20;
/** In the place of the major version, ZMTP 2.0's; RFC 15 calls it the revision. */
const revision2 = 1;
/** ZMTP 2.0's, by the number that stands behind the revision. */
export const socketTypes2 = "PAIR PUB SUB REQ REP DEALER ROUTER PULL PUSH XPUB XSUB".split(" ");

const flagLong = 0x02;
const flagCommand = 0x04;

/**
 * The greeting, as libzmq 4.3.5 sends it; `isServer`: of CURVE, where we are who has the known key.
 *
 * | FF | padding 8 | 7F | major u8 | minor u8 | mechanism 20 | as-server u8 | filler 31 |
 */
export function encodeGreeting(mechanism: string, isServer = false): Buffer {
  const greeting = Buffer.alloc(greetingSize);
  greeting[0] = 0xff;
  // ZMTP 1.0 peers read the padding as the size of a long frame: an identity of 0 bytes and flags.
  greeting[8] = 1;
  greeting[9] = 0x7f;
  greeting[majorOffset] = 3;
  greeting[majorOffset + 1] = 1;
  greeting.write(mechanism, mechanismOffset, mechanismSize, "latin1");
  greeting[mechanismOffset + mechanismSize] = isServer ? 1 : 0;
  return greeting;
}

/**
 * | 04 | size u8 | 05 "ERROR" | reason size u8 | reason |
 *
 * Tells a peer in words why it is refused; takes the place of our READY.
 */
export function encodeError(reason: string): Buffer {
  const text = Buffer.from(reason, "latin1").subarray(0, 240);
  const header = Buffer.from([flagCommand, 7 + text.length, 5, 0, 0, 0, 0, 0, text.length]);
  header.write("ERROR", 3, "latin1");
  return Buffer.concat([header, text]);
}

function faulty(fault: HandshakeFault, detail: string): Extract<Handshake, { state: "faulty" }> {
  return { state: "faulty", fault, detail };
}

/** Judges a greeting as early as its bytes allow: a stranger is let go at its first wrong byte. */
export function checkGreeting(bytes: Uint8Array, mechanism: Mechanism): GreetingCheck {
  if (bytes.length === 0) return { state: "partial" };
  if (bytes[0] !== 0xff) return faulty("not-zmtp", "the first byte is not FF");
  if (bytes.length < signatureSize) return { state: "partial" };
  // RFC 23: bit 0 of the tenth byte tells a signature from a ZMTP 1.0 frame.
  if ((bytes[9] & 1) === 0) return faulty("zmtp-version", "ZMTP 1.0 is not supported");
  if (bytes.length === majorOffset) return { state: "partial" };
  const major = bytes[majorOffset];
  if (major === revision2) {
    // It has no mechanisms: where one is asked for it must not slip by.
    if (mechanism !== "NULL") return faulty("mechanism", `ZMTP 2.0 has no ${mechanism}`);
    return bytes.length === greetingHeadSize
      ? { state: "partial" }
      : { state: "whole", version: 2 };
  }
  if (major < 3) return faulty("zmtp-version", "only ZMTP 2.0 and 3.x are supported");
  if (bytes.length < greetingSize) return { state: "partial" };
  for (let i = 0; i < mechanismSize; i++) {
    const wanted = i < mechanism.length ? mechanism.charCodeAt(i) : 0;
    if (bytes[mechanismOffset + i] !== wanted) {
      return faulty("mechanism", `the security mechanism must be ${mechanism}`);
    }
  }
  return { state: "whole", version: 3 };
}

/** Whether a whole greeting is of a peer that speaks ZMTP 3.1, which has PING. */
export function knowsPing(greeting: Uint8Array): boolean {
  return speaksZmtp3(greeting) && (greeting[majorOffset] > 3 || greeting[majorOffset + 1] > 0);
}

/** Whether a greeting, so far, is of a peer that waits for the rest of ours as ZMTP 3 has it. */
export function speaksZmtp3(bytes: Uint8Array): boolean {
  return bytes.length > majorOffset && bytes[majorOffset] >= 3;
}

/**
 * Reads a peer's greeting and READY, or under CURVE its HELLO, from all bytes received so far; more may
 * follow.
 */
export function readHandshake(bytes: Uint8Array, mechanism: Mechanism): Handshake {
  const greeting = checkGreeting(bytes, mechanism);
  if (greeting.state !== "whole") return greeting;
  if (greeting.version === 2) return readSocketType2(bytes);
  return mechanism === "CURVE" ? readHello(bytes, greetingSize) : readReady(bytes, greetingSize);
}

/** | signature 10 | revision u8 = 1 | socket type u8 |, then the identity as a frame */
function readSocketType2(bytes: Uint8Array): Handshake {
  const socketType = socketTypes2[bytes[greetingHeadSize]];
  if (socketType === undefined) return faulty("not-zmtp", "the socket type of ZMTP 2.0 is none");
  return { state: "ready", socketType, version: 2 };
}

/** | flags 04 | size u8, 200 | 05 "HELLO" | ... |: whether it was made for our key is seen later. */
function readHello(bytes: Uint8Array, offset: number): Handshake {
  const start = [flagCommand, helloSize, 5, 72, 69, 76, 76, 79];
  for (let i = 0; i < Math.min(start.length, bytes.length - offset); i++) {
    if (bytes[offset + i] !== start[i]) {
      return faulty("hello-malformed", "the first command is not CURVE's HELLO");
    }
  }
  if (bytes.length < offset + 2 + helloSize) return { state: "partial" };
  return { state: "ready", socketType: "", version: 3 };
}

/** | flags u8, 04 or 06 | body size u8 or u64 | 05 "READY" | properties | */
function readReady(bytes: Uint8Array, offset: number): Handshake {
  const command = readCommandFrame(bytes, offset);
  if (command.state !== "whole") return command;
  const { body } = command;
  const name = commandName(body);
  if (name === "ERROR") return faulty("peer-error", "the peer sent ERROR");
  if (name !== "READY") return faulty("ready-malformed", "the first command is not READY");
  return readProperties(body.subarray(6));
}

/** The command of a handshake that stands at `offset`, and where it ends. */
export function readCommandFrame<T extends Uint8Array>(
  bytes: T,
  offset: number,
):
  | { state: "partial" }
  | { state: "whole"; body: T; end: number }
  | Extract<Handshake, { state: "faulty" }> {
  if (bytes.length === offset) return { state: "partial" };
  const flags = bytes[offset];
  if (flags !== flagCommand && flags !== (flagCommand | flagLong)) {
    return faulty("ready-malformed", "the frame after the greeting is not a command");
  }
  const isLong = (flags & flagLong) !== 0;
  const bodyOffset = offset + (isLong ? 9 : 2);
  if (bytes.length < bodyOffset) return { state: "partial" };
  const size = isLong ? readUint64(bytes, offset + 1) : bytes[offset + 1];
  if (size > readySizeMax) {
    return faulty("ready-too-large", `READY must be at most ${readySizeMax} bytes, got ${size}`);
  }
  const end = bodyOffset + size;
  if (bytes.length < end) return { state: "partial" };
  return { state: "whole", body: bytes.subarray(bodyOffset, end) as T, end };
}

/** The name in a command's body; "" where it is none. */
export function commandName(body: Uint8Array): string {
  return body.length > 0 ? latin1(body.subarray(1, 1 + body[0])) : "";
}

/** Why, in the body of an ERROR, | 05 "ERROR" | reason size u8 | reason |: what can be printed of it. */
export function readErrorReason(body: Uint8Array): string {
  return latin1(body.subarray(7, 7 + body[6])).replace(/[^\x20-\x7e]/g, "?");
}

/** Properties, each | name size u8 | name | value size u32 | value |; names in any case. */
export function readProperties(bytes: Uint8Array): Handshake {
  let socketType = "";
  let at = 0;
  while (at < bytes.length) {
    const nameEnd = at + 1 + bytes[at];
    const valueOffset = nameEnd + 4;
    if (bytes[at] === 0 || valueOffset > bytes.length) {
      return faulty("ready-malformed", "a property of READY is cut short");
    }
    const valueEnd = valueOffset + readUint32(bytes, nameEnd);
    if (valueEnd > bytes.length) {
      return faulty("ready-malformed", "a property of READY is cut short");
    }
    if (latin1(bytes.subarray(at + 1, nameEnd)).toLowerCase() === "socket-type") {
      // Two types would let a peer be one to us and another to who reads READY otherwise.
      if (socketType !== "") return faulty("ready-malformed", "READY has two socket types");
      socketType = latin1(bytes.subarray(valueOffset, valueEnd));
      // The name is echoed in an error text: nothing but a plain word may pass.
      if (!/^[A-Z]{1,16}$/.test(socketType)) {
        return faulty("ready-malformed", "the socket type is not a word in capitals");
      }
    }
    at = valueEnd;
  }
  if (socketType === "") return faulty("ready-malformed", "READY has no Socket-Type");
  return { state: "ready", socketType, version: 3 };
}

function readUint32(bytes: Uint8Array, at: number): number {
  return bytes[at] * 0x1000000 + ((bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]);
}

function readUint64(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at) * 2 ** 32 + readUint32(bytes, at + 4);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
