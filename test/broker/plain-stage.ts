// A broker with ports for plain sockets, and peers by hand that behave as no ZeroMQ socket would.
import type { Socket } from "node:net";
import { decodeZ85 } from "../../build/base/z85.js";
import { Broker, type BrokerOptions } from "../../build/index.js";
import { CurveBox } from "../../build/zmtp/curve-box.js";
import { CurveClient } from "../../build/zmtp/curve-handshake.js";
import type { CurveSession } from "../../build/zmtp/curve-session.js";
import { encodeProperties } from "../../build/zmtp/encode.js";
import { FrameReader } from "../../build/zmtp/frames.js";
import { encodeGreeting, readCommandFrame } from "../../build/zmtp/greeting.js";
import { eventually } from "../system/processes.js";
import { connectTo, encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { type KeyName, keyOf, startBroker } from "./curve-keys.js";

export const ANY = "tcp://127.0.0.1:0";
const GREETING_SIZE = 64;

/** A connection by hand, and what came over it. */
export class HandPeer {
  /** Each message's parts as text. */
  readonly messages: string[][] = [];
  readonly commands: string[] = [];
  bytes = Buffer.alloc(0);
  #greetingLeft: number;
  readonly #reader = new FrameReader(-1, {
    onMessage: (parts) => void this.messages.push(parts.map((part) => part.toString("latin1"))),
    onCommand: (name) => void this.commands.push(name),
  });

  constructor(
    readonly socket: Socket,
    { greetingSize = GREETING_SIZE, isRead = true } = {},
  ) {
    this.#greetingLeft = greetingSize;
    socket.on("data", (chunk: Buffer) => {
      const skipped = Math.min(this.#greetingLeft, chunk.length);
      this.#greetingLeft -= skipped;
      if (isRead) this.#reader.read(Buffer.from(chunk.subarray(skipped)));
      else this.bytes = Buffer.concat([this.bytes, chunk]);
    });
  }

  say(...parts: (string | Buffer)[]): void {
    this.socket.write(encodeMessage(parts.map((part) => Buffer.from(part as string, "latin1"))));
  }

  /** Resolves when its connection is closed. */
  closed(): Promise<void> {
    this.socket.resume();
    if (this.socket.closed) return Promise.resolve();
    return new Promise((resolve) => this.socket.once("close", () => resolve()));
  }
}

export class PlainStage {
  readonly #closers: (() => unknown)[] = [];
  broker!: Broker;

  async start(options: BrokerOptions = {}): Promise<Broker> {
    const ports = { frontend: ANY, backend: ANY, xsub: ANY, xpub: ANY, push: ANY, pull: ANY };
    this.broker = await Broker.start({ ...ports, ...options });
    this.onEnd(() => this.broker.close({ timeoutMs: 0 }));
    return this.broker;
  }

  /** Under CURVE. */
  async startSecure(access: Parameters<typeof startBroker>[1], options: BrokerOptions = {}) {
    const ports = { xsub: ANY, xpub: ANY, push: ANY, pull: ANY };
    const { broker, events } = await startBroker({ ...ports, ...options }, access);
    this.broker = broker;
    this.onEnd(() => broker.close({ timeoutMs: 0 }));
    return { broker, events };
  }

  onEnd(close: () => unknown): void {
    this.#closers.push(close);
  }

  kept<T extends { close(): unknown }>(it: T): T {
    this.onEnd(() => it.close());
    return it;
  }

  async end(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  /** A peer of this type that has heard our READY. */
  async peer(endpoint: string | undefined, socketType: string): Promise<HandPeer> {
    const peer = this.stranger(endpoint, handshakeBytes(socketType));
    await eventually("it has heard READY", () => peer.commands.length > 0);
    return peer;
  }

  /** One that says `start`. */
  stranger(endpoint: string | undefined, start: Buffer, options = {}): HandPeer {
    const socket = connectTo(endpoint as string);
    this.onEnd(() => socket.destroy());
    const peer = new HandPeer(socket, options);
    socket.write(start);
    return peer;
  }

  /** One under CURVE that has shown its key; whether it is let in is not waited for. */
  async curvePeer(endpoint: string | undefined, socketType: string, name: KeyName) {
    const { peer, welcomeEnd } = await this.#shown(endpoint, socketType, name);
    return { peer, welcomeEnd };
  }

  /** The same, when it is let in: what it says and reads goes through `session`. */
  async curveTalker(endpoint: string | undefined, socketType: string, name: KeyName) {
    const { peer, welcomeEnd, client } = await this.#shown(endpoint, socketType, name);
    const answer = () => readCommandFrame(peer.bytes, welcomeEnd);
    await eventually("it is let in", () => answer().state === "whole");
    const { session } = client.ready((answer() as { body: Buffer }).body) as {
      session: CurveSession;
    };
    return { peer, session };
  }

  async #shown(endpoint: string | undefined, socketType: string, name: KeyName) {
    const keys = {
      publicKey: decodeZ85(keyOf[name].publicKey),
      secretKey: decodeZ85(keyOf[name].secretKey),
    };
    const client = new CurveClient(await CurveBox.load(), keys, decodeZ85(keyOf.broker.publicKey));
    const hello = Buffer.concat([encodeGreeting("CURVE"), client.hello()]);
    const peer = this.stranger(endpoint, hello, { isRead: false });
    const answer = () => readCommandFrame(peer.bytes, GREETING_SIZE);
    await eventually("it is welcome", () => answer().state === "whole");
    const welcome = answer() as { body: Buffer; end: number };
    const initiate = client.initiate(welcome.body, encodeProperties(socketType));
    peer.socket.write(initiate as Buffer);
    return { peer, welcomeEnd: welcome.end, client };
  }
}

export const plainCounts = (broker: Broker) =>
  broker.stats.topics.plain as Readonly<Record<string, number>>;
