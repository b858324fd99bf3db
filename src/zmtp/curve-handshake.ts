// The handshake of CurveZMQ, its two halves: bodies of commands in, commands out. Nothing is read of a peer but
// what is sealed by a key that it has shown, and each half ends with a session that only these two connections have.
// RFC 26 (CurveZMQ) https://rfc.zeromq.org/spec/26
//
//   client  --- HELLO     our transient key C', a box to the server's key S that shows it is known
//   server  --- WELCOME   its transient key S' and a cookie, boxed to C'
//   client  --- INITIATE  the cookie; boxed to S': the key C, a vouch by it for C', the properties
//   server  --- READY     the properties, boxed to C'
import { randomBytes, timingSafeEqual } from "node:crypto";
import {
  type CurveBox,
  KEY_SIZE,
  type KeyPairBytes,
  type SharedKey,
  TAG_SIZE,
} from "./curve-box.js";
import { CurveSession, Nonce } from "./curve-session.js";
import { encodeCommandFrame } from "./encode.js";
import { commandName, helloSize } from "./greeting.js";

/** Of a nonce that is drawn at random, what goes over the wire. */
const LONG_NONCE_SIZE = 16;
const SHORT_NONCE_SIZE = 8;
const COOKIE_SIZE = 96;

/** | 05 "HELLO" | version 1, 0 | padding 72 | C' 32 | nonce 8 | box of 64 zeros | */
const HELLO_VERSION = [1, 0];
const HELLO_PADDING_SIZE = 72;
const HELLO_ZEROS_SIZE = 64;
const HELLO_KEY_AT = 6 + HELLO_VERSION.length + HELLO_PADDING_SIZE;
const HELLO_NONCE_AT = HELLO_KEY_AT + KEY_SIZE;
const HELLO_BOX_AT = HELLO_NONCE_AT + SHORT_NONCE_SIZE;

/** | 07 "WELCOME" | nonce 16 | box of | S' 32 | cookie 96 | | */
const WELCOME_NONCE_AT = 8;
const WELCOME_BOX_AT = WELCOME_NONCE_AT + LONG_NONCE_SIZE;
const welcomeSize = WELCOME_BOX_AT + TAG_SIZE + KEY_SIZE + COOKIE_SIZE;

/** | 08 "INITIATE" | cookie 96 | nonce 8 | box of | C 32 | vouch's nonce 16 | vouch: box of C' and S | properties | | */
const INITIATE_COOKIE_AT = 9;
const INITIATE_NONCE_AT = INITIATE_COOKIE_AT + COOKIE_SIZE;
const INITIATE_BOX_AT = INITIATE_NONCE_AT + SHORT_NONCE_SIZE;
const VOUCH_SIZE = TAG_SIZE + 2 * KEY_SIZE;
const PROPERTIES_AT = KEY_SIZE + LONG_NONCE_SIZE + VOUCH_SIZE;
const initiateSizeMin = INITIATE_BOX_AT + TAG_SIZE + PROPERTIES_AT;

/** | 05 "READY" | nonce 8 | box of properties | */
const READY_NONCE_AT = 6;
const READY_BOX_AT = READY_NONCE_AT + SHORT_NONCE_SIZE;

/** What a peer has shown to be. */
export interface CurvePeer {
  /** Its public key. */
  key: Uint8Array;
  /** As they stand in a READY in clear. */
  properties: Buffer;
}

/** The half of who listens, for one connection. */
export class CurveServer {
  readonly #box: CurveBox;
  readonly #keys: KeyPairBytes;
  /** The client's C'; our S' and s'. */
  #peerKey: Uint8Array = new Uint8Array(0);
  #transient: KeyPairBytes | undefined;
  #shared: SharedKey | undefined;
  /**
   * RFC 26 has it hold what a server without connections would have to remember. Ours remembers by the
   * connection, so these bytes mean nothing, and must come back over it.
   */
  readonly #cookie = randomBytes(COOKIE_SIZE);
  readonly #ours = new Nonce("CurveZMQREADY---");
  readonly #theirs = new Nonce("CurveZMQHELLO---");

  constructor(box: CurveBox, keys: KeyPairBytes) {
    this.#box = box;
    this.#keys = keys;
  }

  /** What HELLO is answered with; undefined where it was not made for our key. */
  welcome(hello: Buffer): Buffer | undefined {
    if (hello.length !== helloSize || commandName(hello) !== "HELLO") return undefined;
    if (HELLO_VERSION.some((byte, index) => hello[6 + index] !== byte)) return undefined;
    if (!this.#theirs.follow(hello, HELLO_NONCE_AT)) return undefined;
    const box = this.#box;
    this.#peerKey = new Uint8Array(hello.subarray(HELLO_KEY_AT, HELLO_NONCE_AT));
    const shared = box.agree(this.#peerKey, this.#keys.secretKey);
    if (shared === undefined) return undefined;
    const zeros = box.open(shared, this.#theirs.bytes, hello.subarray(HELLO_BOX_AT));
    if (zeros === undefined) return undefined;
    this.#transient = box.keyPair();
    const body = command("WELCOME", welcomeSize);
    const nonce = randomNonce("WELCOME-", body, WELCOME_NONCE_AT);
    const plain = Buffer.concat([this.#transient.publicKey, this.#cookie]);
    box.seal(shared, nonce, -1, plain, body, WELCOME_BOX_AT);
    shared.fill(0);
    return encodeCommandFrame(body);
  }

  /** Whether an INITIATE belongs to our WELCOME, which costs nothing to see. */
  hasCookie(body: Buffer): boolean {
    if (body.length < initiateSizeMin || commandName(body) !== "INITIATE") return false;
    return timingSafeEqual(body.subarray(INITIATE_COOKIE_AT, INITIATE_NONCE_AT), this.#cookie);
  }

  /** Who it is that says INITIATE; undefined where that does not belong to our WELCOME, or is not vouched for. */
  initiate(body: Buffer): CurvePeer | undefined {
    const box = this.#box;
    const { publicKey } = this.#keys;
    const transient = this.#transient;
    if (transient === undefined || !this.hasCookie(body)) return undefined;
    const nonce = this.#theirs.use("CurveZMQINITIATE");
    if (!nonce.follow(body, INITIATE_NONCE_AT)) return undefined;
    // Here and not for the WELCOME: it takes as long as that, and one that only says HELLO again and again
    // is not worth it.
    const shared = box.agree(this.#peerKey, transient.secretKey);
    this.#shared = shared;
    if (shared === undefined) return undefined;
    const opened = box.open(shared, nonce.bytes, body.subarray(INITIATE_BOX_AT));
    if (opened === undefined) return undefined;
    const plain = Buffer.from(opened);
    const key = new Uint8Array(plain.subarray(0, KEY_SIZE));
    const vouched = box.agree(key, transient.secretKey);
    if (vouched === undefined) return undefined;
    const vouchAt = KEY_SIZE + LONG_NONCE_SIZE;
    const vouchNonce = Buffer.concat([
      Buffer.from("VOUCH---", "latin1"),
      plain.subarray(KEY_SIZE, vouchAt),
    ]);
    const vouch = box.open(vouched, vouchNonce, plain.subarray(vouchAt, PROPERTIES_AT));
    vouched.fill(0);
    // For this C' and for this server: one that was made for another connection is worth nothing here.
    const isOurs = vouch !== undefined && timingSafeEqual(vouch, bytesOf(this.#peerKey, publicKey));
    transient.secretKey.fill(0);
    this.#transient = undefined;
    return isOurs ? { key, properties: plain.subarray(PROPERTIES_AT) } : undefined;
  }

  /** It came to nothing: forgets what is secret. */
  end(): void {
    this.#transient?.secretKey.fill(0);
    this.#transient = undefined;
    this.#shared?.fill(0);
    this.#shared = undefined;
  }

  /** READY, and what everything behind it is sealed with. Only behind an INITIATE that was taken. */
  ready(properties: Uint8Array): { ready: Buffer; session: CurveSession } {
    const shared = this.#shared as SharedKey;
    const ready = sealed("READY", READY_NONCE_AT, this.#box, shared, this.#ours, properties);
    const session = new CurveSession(this.#box, shared, "server", this.#ours, this.#theirs);
    return { ready, session };
  }
}

/** The half of who connects. */
export class CurveClient {
  readonly #box: CurveBox;
  readonly #keys: KeyPairBytes;
  readonly #serverKey: Uint8Array;
  readonly #transient: KeyPairBytes;
  /** With the server's key, then with its transient one. */
  readonly #sharedFirst: SharedKey;
  #shared: SharedKey | undefined;
  readonly #ours = new Nonce("CurveZMQHELLO---");

  /** The keys become its own. Throws TypeError where `serverKey` is a public key of nobody. */
  constructor(box: CurveBox, keys: KeyPairBytes, serverKey: Uint8Array) {
    this.#box = box;
    this.#keys = keys;
    this.#serverKey = serverKey;
    this.#transient = box.keyPair();
    const shared = box.agree(serverKey, this.#transient.secretKey);
    if (shared === undefined) throw new TypeError("serverKey is the public key of nobody");
    this.#sharedFirst = shared;
  }

  hello(): Buffer {
    const body = command("HELLO", helloSize);
    body.set(HELLO_VERSION, 6);
    body.set(this.#transient.publicKey, HELLO_KEY_AT);
    this.#ours.next();
    body.set(this.#ours.counter, HELLO_NONCE_AT);
    const zeros = new Uint8Array(HELLO_ZEROS_SIZE);
    this.#box.seal(this.#sharedFirst, this.#ours.bytes, -1, zeros, body, HELLO_BOX_AT);
    return encodeCommandFrame(body);
  }

  /** INITIATE, which shows our key; undefined where WELCOME is not of the server whose key we have. */
  initiate(welcome: Buffer, properties: Uint8Array): Buffer | undefined {
    if (welcome.length !== welcomeSize || commandName(welcome) !== "WELCOME") return undefined;
    const box = this.#box;
    const nonce = Buffer.concat([
      Buffer.from("WELCOME-", "latin1"),
      welcome.subarray(WELCOME_NONCE_AT, WELCOME_BOX_AT),
    ]);
    const opened = box.open(this.#sharedFirst, nonce, welcome.subarray(WELCOME_BOX_AT));
    if (opened === undefined) return undefined;
    const serverTransient = Uint8Array.from(opened.subarray(0, KEY_SIZE));
    const cookie = Uint8Array.from(opened.subarray(KEY_SIZE));
    this.#sharedFirst.fill(0);
    const { publicKey, secretKey } = this.#transient;
    this.#shared = box.agree(serverTransient, secretKey);
    const vouching = box.agree(serverTransient, this.#keys.secretKey);
    secretKey.fill(0);
    if (this.#shared === undefined || vouching === undefined) return undefined;
    const plain = Buffer.alloc(PROPERTIES_AT + properties.length);
    plain.set(this.#keys.publicKey);
    const vouchNonce = randomNonce("VOUCH---", plain, KEY_SIZE);
    const vouch = bytesOf(publicKey, this.#serverKey);
    box.seal(vouching, vouchNonce, -1, vouch, plain, KEY_SIZE + LONG_NONCE_SIZE);
    vouching.fill(0);
    plain.set(properties, PROPERTIES_AT);
    const at = INITIATE_NONCE_AT;
    const nonces = this.#ours.use("CurveZMQINITIATE");
    return sealed("INITIATE", at, box, this.#shared, nonces, plain, cookie);
  }

  /** The server's properties and the session; undefined where READY is not of the server that we met. */
  ready(ready: Buffer): { properties: Buffer; session: CurveSession } | undefined {
    const shared = this.#shared;
    if (shared === undefined || ready.length < READY_BOX_AT || commandName(ready) !== "READY") {
      return undefined;
    }
    const theirs = new Nonce("CurveZMQREADY---");
    if (!theirs.follow(ready, READY_NONCE_AT)) return undefined;
    const opened = this.#box.open(shared, theirs.bytes, ready.subarray(READY_BOX_AT));
    if (opened === undefined) return undefined;
    const properties = Buffer.from(opened);
    const session = new CurveSession(this.#box, shared, "client", this.#ours, theirs);
    this.#shared = undefined;
    return { properties, session };
  }

  /** It came to nothing, or to a session, which has what it needs: forgets what is secret. */
  end(): void {
    this.#transient.secretKey.fill(0);
    this.#sharedFirst.fill(0);
    this.#shared?.fill(0);
    this.#shared = undefined;
    this.#keys.secretKey.fill(0);
  }
}

function command(name: string, size: number): Buffer {
  const body = Buffer.alloc(size);
  body[0] = name.length;
  body.write(name, 1, "latin1");
  return body;
}

/** A command with the next of `nonces` at `nonceAt`, behind it a box of `plain`, and `head` between name and nonce. */
function sealed(
  name: string,
  nonceAt: number,
  box: CurveBox,
  key: SharedKey,
  nonces: Nonce,
  plain: Uint8Array,
  head: Uint8Array = new Uint8Array(0),
): Buffer {
  const boxAt = nonceAt + SHORT_NONCE_SIZE;
  const body = command(name, boxAt + TAG_SIZE + plain.length);
  body.set(head, 1 + name.length);
  nonces.next();
  body.set(nonces.counter, nonceAt);
  box.seal(key, nonces.bytes, -1, plain, body, boxAt);
  return encodeCommandFrame(body);
}

/** A nonce of 8 bytes that are given and 16 at random, which are written to `target` as well. */
function randomNonce(prefix: string, target: Uint8Array, at: number): Uint8Array {
  const bytes = randomBytes(LONG_NONCE_SIZE);
  target.set(bytes, at);
  return Buffer.concat([Buffer.from(prefix, "latin1"), bytes]);
}

function bytesOf(...keys: Uint8Array[]): Buffer {
  return Buffer.concat(keys);
}
