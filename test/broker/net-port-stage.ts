// A NetPort, what it tells of, and the peers of a test.
import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { Reply } from "zeromq";
import { NetPort, type NetPortOptions } from "../../build/broker/net-port.js";
import type { PlainWorker } from "../../build/broker/plain-worker.js";
import { connectTo, encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";

export const anyPort = "tcp://127.0.0.1:0";
export const MiB = 1024 * 1024;
export const bytes = (text: string) => Buffer.from(text);

/** Records events; `nth` waits for the nth of a kind. */
export class Recorder {
  #entries = new Map<string, unknown[]>();
  #waiting: (() => void)[] = [];

  add(kind: string, value: unknown): void {
    const entries = this.#entries.get(kind);
    if (entries === undefined) this.#entries.set(kind, [value]);
    else entries.push(value);
    for (const check of this.#waiting.splice(0)) check();
  }

  all<T>(kind: string): T[] {
    return (this.#entries.get(kind) ?? []) as T[];
  }

  async nth<T>(kind: string, count = 1): Promise<T> {
    while (this.all(kind).length < count) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.all<T>(kind)[count - 1];
  }
}

/** Frames that stay: those of a message are good only until it is dealt with. */
const ownFrames = (frames: readonly Uint8Array[]) => frames.map((frame) => Buffer.from(frame));

export class NetStage {
  /** `message`: frames; `gone`: a routing id; `worker`, `rep-gone`: a PlainWorker; `reply ID`: parts; */
  readonly log = new Recorder();
  /** Who was told of as unreachable, and whether for not reading. */
  readonly unreachable: [number, boolean][] = [];
  readonly #closers: (() => unknown)[] = [];
  port!: NetPort;
  endpoint = "";

  /** `isBackend`: REP sockets are served. */
  async start(options: Partial<NetPortOptions> = {}, isBackend = true): Promise<NetPort> {
    const { log } = this;
    const port = new NetPort(
      {
        heartbeatIntervalMs: 300,
        heartbeatTimeoutMs: 900,
        handshakeTimeoutMs: 10_000,
        connectionsMax: 1000,
        messageBytesMax: 16 * MiB,
        ...options,
      },
      {
        onMessage: (frames) => {
          const isGone = frames.length === 2 && frames[1].length === 0;
          log.add(isGone ? "gone" : "message", isGone ? frames[0] : ownFrames(frames));
        },
        onTurn: () => port.flush(),
        onUnreachable: ({ peer }, isUnread) => this.unreachable.push([peer, isUnread]),
      },
      isBackend
        ? {
            onPlainWorker: (worker) => log.add("worker", worker),
            onPlainReply: (worker, parts) => log.add(`reply ${worker.id}`, ownFrames(parts)),
            onPlainGone: (worker) => log.add("rep-gone", worker),
          }
        : undefined,
    );
    this.port = port;
    this.endpoint = await port.listen(anyPort);
    this.#closers.push(() => port.end(0));
    return port;
  }

  /** Also closed at the end of the test. */
  opened<T extends { close(): void }>(socket: T): T {
    this.#closers.push(() => socket.close());
    return socket;
  }

  onEnd(close: () => unknown): void {
    this.#closers.push(close);
  }

  async end(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
  }

  /** A connection that says nothing yet. */
  stranger(): Socket {
    const peer = connectTo(this.endpoint);
    this.#closers.push(() => peer.destroy());
    return peer;
  }

  /** A peer by hand that has said hello, and its routing id. It is paused, and answers nothing. */
  async dealer(handshake = handshakeBytes("DEALER")): Promise<{ peer: Socket; id: Buffer }> {
    const peer = this.stranger();
    peer.pause();
    const count = this.log.all("message").length + 1;
    peer.write(Buffer.concat([handshake, encodeMessage([bytes("hello")])]));
    const [id] = await this.log.nth<Buffer[]>("message", count);
    return { peer, id };
  }

  /** An unmodified REP worker that gives back what it is asked. */
  plainEcho(): Reply {
    const reply = this.opened(new Reply({ linger: 0 }));
    reply.connect(this.endpoint);
    const serve = async () => {
      for await (const parts of reply) await reply.send(parts);
    };
    serve().catch(() => {}); // Ends when the socket is closed.
    return reply;
  }

  worker(count = 1): Promise<PlainWorker> {
    return this.log.nth("worker", count);
  }

  /** A process of fixtures/ that connects here. */
  process(fixture: string): ChildProcess {
    const path = fileURLToPath(new URL(`fixtures/${fixture}`, import.meta.url));
    const child = spawn(process.execPath, [path, this.endpoint], { stdio: "inherit" });
    this.#closers.push(() => child.kill("SIGKILL"));
    return child;
  }
}

/** Resolves when `socket` is closed, at once if it is. */
export async function closed(socket: Socket): Promise<void> {
  socket.resume();
  // Not `once`: what was not read when the other end closed comes back as an error first.
  if (!socket.closed) await new Promise<void>((resolve) => socket.once("close", () => resolve()));
}

/** From now on answers what `peer` is asked by PING, as libzmq would, and reads on. */
export function answerPings(peer: Socket): void {
  peer.on("data", (chunk: Buffer) => {
    if (chunk.includes("PING")) peer.write(Buffer.from("\x04\x05\x04PONG", "latin1"));
  });
  peer.resume();
}

/** Reads from `peer` until it has `size` bytes, and stops it there. */
export async function readBytes(peer: Socket, size: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let read = 0;
  await new Promise<void>((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      read += chunk.length;
      if (read < size) return;
      peer.off("data", onData).off("close", onClose).pause();
      resolve();
    };
    const onClose = () => reject(new Error(`closed after ${read} of ${size} bytes`));
    peer.on("data", onData).on("close", onClose);
    peer.resume();
  });
  return Buffer.concat(chunks);
}

/** Waits for our READY: no message may be sent before. Leaves the peer paused. */
export async function readyOf(peer: Socket): Promise<void> {
  await readBytes(peer, 65);
}
