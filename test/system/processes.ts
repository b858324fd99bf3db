import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A process of fixtures/, and what it says of itself. */
export class Party {
  readonly #process: ChildProcess;
  readonly #messages: Record<string, unknown>[] = [];
  #onChange: (() => void) | undefined;

  constructor(fixture: string, options: object) {
    const path = fileURLToPath(new URL(`fixtures/${fixture}.mjs`, import.meta.url));
    this.#process = fork(path, [JSON.stringify(options)]);
    this.#process.on("message", (message: Record<string, unknown>) => {
      this.#messages.push(message);
      this.#onChange?.();
    });
    this.#process.on("exit", () => this.#onChange?.());
  }

  static async start(fixture: string, options: object): Promise<Party> {
    const party = new Party(fixture, options);
    started.add(party);
    await party.until("ready");
    return party;
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** The first message with this field, those that came already included. */
  async until(field: string, test: (value: unknown) => boolean = () => true): Promise<unknown> {
    for (;;) {
      const found = this.#messages.find((message) => field in message && test(message[field]));
      if (found !== undefined) return found[field];
      if (this.#process.exitCode !== null) throw new Error(`ended before "${field}"`);
      await new Promise<void>((resolve) => {
        this.#onChange = resolve;
      });
    }
  }

  count(field: string): number {
    return this.#messages.filter((message) => field in message).length;
  }

  async stats(): Promise<{
    stats: import("../../build/index.js").BrokerStats;
    memory: NodeJS.MemoryUsage;
  }> {
    const reply = once(this.#process, "message");
    this.#process.send("stats");
    return (await reply)[0];
  }

  send(message: string): void {
    this.#process.send(message);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async exit(): Promise<number | null> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      await once(this.#process, "exit");
    }
    return this.#process.exitCode;
  }

  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.exit();
  }
}

const started = new Set<Party>();

/** Ends every process that a test left. */
export async function endAll(): Promise<void> {
  for (const party of started) await party.kill();
  started.clear();
}

/** Resolves when `isTrue`, asked again and again, is; fails after a generous while. */
export async function eventually(what: string, isTrue: () => boolean | Promise<boolean>) {
  const endMs = Date.now() + 20_000;
  while (!(await isTrue())) {
    if (Date.now() > endMs) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
