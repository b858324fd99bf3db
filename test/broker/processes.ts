// Brokers and workers as processes of their own, and peers that speak the wire by hand.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Dealer, type SocketOptions } from "zeromq";
import type { BrokerOptions, BrokerStats } from "../../build/broker/broker.js";
import { readMessage, type Shown } from "../wire/support.js";
import { message } from "./fake-port.js";

/** A child process that answers one message at a time over IPC. */
class Child {
  readonly process: ChildProcess;
  /** How it ended, once it has. */
  ended: string | undefined;
  #asking: Promise<unknown> = Promise.resolve();
  readonly #gone: Promise<never>;

  protected constructor(fixture: string, args: string[], execArgv: string[] = []) {
    const path = fileURLToPath(new URL(`fixtures/${fixture}`, import.meta.url));
    this.process = fork(path, args, { execArgv, serialization: "advanced" });
    this.#gone = new Promise((_, reject) => {
      this.process.on("exit", (code, signal) => {
        this.ended = `exit ${code} ${signal}`;
        reject(new Error(`the process is gone: ${this.ended}`));
      });
    });
    this.#gone.catch(() => {});
  }

  protected async answer<T>(): Promise<T> {
    const message = new Promise<T>((resolve) => {
      this.process.once("message", (value) => resolve(value as T));
    });
    return Promise.race([message, this.#gone]);
  }

  protected ask<T>(what: string): Promise<T> {
    const asked = this.#asking.then(() => {
      this.process.send(what);
      return this.answer<T>();
    });
    this.#asking = asked.catch(() => {});
    return asked;
  }

  get pid(): number {
    return this.process.pid as number;
  }

  get rssBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  }

  get fileCount(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    this.process.kill(signal);
  }
}

export class BrokerProcess extends Child {
  frontend = "";
  backend = "";

  static async start(options: BrokerOptions = {}): Promise<BrokerProcess> {
    const broker = new BrokerProcess(
      "broker-process.mjs",
      [JSON.stringify(options)],
      ["--expose-gc"],
    );
    Object.assign(broker, await broker.answer<{ frontend: string; backend: string }>());
    return broker;
  }

  stats(): Promise<BrokerStats> {
    return this.ask("stats");
  }

  /** Collects garbage and resolves with the bytes that are held then. */
  collect(): Promise<number> {
    return this.ask("gc");
  }

  /** Resolves when it is about to hold its event loop for a second. */
  block(): Promise<unknown> {
    return this.ask("block");
  }

  /** Closes and ends; the process must end by itself. */
  async close(): Promise<void> {
    if (this.ended !== undefined) return;
    const exited = once(this.process, "exit");
    await this.ask("close");
    await exited;
  }

  /** Resolves when `isSo` holds of the stats; rejects with them after `timeoutMs`. */
  async until(isSo: (stats: BrokerStats) => boolean, timeoutMs = 15_000): Promise<BrokerStats> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      const stats = await this.stats();
      if (isSo(stats)) return stats;
      if (performance.now() > endMs) throw new Error(`not so: ${JSON.stringify(stats)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

export class WorkerProcess extends Child {
  static async start(backend: string, concurrency: number, delayMs: number) {
    const worker = new WorkerProcess("worker-process.mjs", [
      backend,
      String(concurrency),
      String(delayMs),
    ]);
    await worker.answer();
    return worker;
  }
}

/** A DEALER that says what it is told to, and reads when asked. */
export class RawPeer {
  readonly dealer: Dealer;
  /** Records that came and were not looked for yet. */
  readonly records: Shown[] = [];

  constructor(endpoint: string, options: SocketOptions<Dealer> = {}) {
    this.dealer = new Dealer({ linger: 0, ...options });
    this.dealer.connect(endpoint);
  }

  send(frames: readonly Uint8Array[]): Promise<void> {
    return this.dealer.send(frames as Buffer[]);
  }

  say(...records: Shown[]): Promise<void> {
    return this.send(message(...records));
  }

  /** Reads until a record of which `isIt` holds; those before it stay in `records`. */
  async receive(isIt: (record: Shown) => boolean = () => true): Promise<Shown> {
    for (;;) {
      const at = this.records.findIndex(isIt);
      if (at >= 0) return this.records.splice(at, 1)[0];
      await this.#read();
    }
  }

  async #read(): Promise<void> {
    const { records, fault } = readMessage(await this.dealer.receive());
    if (fault !== undefined) throw new Error(`the broker sent nonsense: ${fault}`);
    for (const record of records) {
      if (typeof record === "string") throw new Error(`the broker sent nonsense: ${record}`);
      this.records.push(record);
    }
  }

  close(): void {
    this.dealer.close();
  }
}

/** Pseudo-random whole numbers below `bound` that a seed repeats (mulberry32). */
export function random(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** The seed of this run: WASMQ_SEED, or a new one; printed, so that a failure can be repeated. */
export function seedOfRun(): number {
  const seed = Number(process.env.WASMQ_SEED ?? Math.floor(Math.random() * 2 ** 32));
  console.log(`WASMQ_SEED=${seed}`);
  return seed;
}

/** What a flood came to (fixtures/flood-process.mjs). */
export interface FloodSummary {
  sent: number;
  replies: number;
  /** Answers that are none, of any kind. */
  wrong: number;
  credits: number;
  unknown: number;
  twice: number;
  never: number;
  /** Failures by status. */
  statuses: Record<number, number>;
  isWelcome: boolean;
  sendingMs: number;
  refusalMs: { p50: number; p99: number; most: number };
}

export class FloodProcess extends Child {
  /** Starts at once; `summary` resolves when each request has ended. */
  readonly summary: Promise<FloodSummary>;

  constructor(frontend: string, count: number, bodySize: number, timeoutMs: number) {
    super("flood-process.mjs", [frontend, ...[count, bodySize, timeoutMs].map(String)]);
    this.summary = this.answer();
  }
}
