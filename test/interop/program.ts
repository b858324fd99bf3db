import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** More at once, or longer than this, is a test gone wrong. */
const PROGRAMS_MAX = 48;
const LIFE_MS_MAX = 90_000;
const KEPT_CHARS_MAX = 8_000_000;
/** Of each of its outputs, where a test failed. */
const TOLD_CHARS_MAX = 4000;

const started = new Set<Program>();

/** A program of some language, as its own process: what it says, and its end. */
export class Program {
  readonly name: string;
  stdout = "";
  stderr = "";
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #life: NodeJS.Timeout;
  #onChange = () => {};

  constructor(
    name: string,
    [command, ...args]: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ) {
    assert(started.size < PROGRAMS_MAX, `more than ${PROGRAMS_MAX} programs at once`);
    this.name = name;
    const env = { ...process.env, ...environment };
    const child = spawn(command, args, { cwd: root, env, stdio: ["pipe", "pipe", "pipe"] });
    this.#process = child;
    child.stdin.on("error", () => {}); // It may end before it has read all.
    child.on("error", (error) => {
      this.stderr += `${error.message}\n`;
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.stdout = (this.stdout + text).slice(-KEPT_CHARS_MAX);
      this.#onChange();
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-KEPT_CHARS_MAX);
      this.#onChange();
    });
    this.#closed = once(child, "close").catch(() => {});
    void this.#closed.then(() => this.#onChange());
    this.#life = setTimeout(() => {
      this.stderr += `\nkilled: it ran for ${LIFE_MS_MAX} ms\n`;
      child.kill("SIGKILL");
    }, LIFE_MS_MAX);
    started.add(this);
  }

  get hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Waits until it has said `text` on stdout. */
  async until(text: string): Promise<void> {
    while (!this.stdout.includes(text)) {
      if (this.hasEnded || this.#process.pid === undefined) {
        throw new Error(`${this.name} ended before it said "${text}"\n${this.told}`);
      }
      await new Promise<void>((resolve) => {
        this.#onChange = resolve;
      });
    }
  }

  /** Gives it a part of its input. */
  say(text: string): void {
    this.#process.stdin?.write(text);
  }

  /** Gives it its input, or the rest, and the end of it. */
  end(text: string): void {
    this.#process.stdin?.end(text);
  }

  /** Its exit code, once it has ended and all that it said is read; null after a signal. */
  async exit(): Promise<number | null> {
    await this.#closed;
    clearTimeout(this.#life);
    return this.#process.exitCode;
  }

  /** What it printed, where it ended well. */
  async output(): Promise<string> {
    const code = await this.exit();
    assert.equal(code, 0, `${this.name} ended with ${code}\n${this.told}`);
    return this.stdout;
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Stops it, and resolves when it has stopped: each of its threads does so when it is next to run. */
  async stop(): Promise<void> {
    const threads = `/proc/${this.#process.pid}/task`;
    const hasStopped = () => readdirSync(threads).every((id) => isStopped(`${threads}/${id}/stat`));
    this.signal("SIGSTOP");
    await eventually(`${this.name} has stopped`, hasStopped);
  }

  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.exit();
  }

  get told(): string {
    const [out, error] = [this.stdout, this.stderr].map((text) => text.slice(-TOLD_CHARS_MAX));
    return `--- ${this.name}, stdout\n${out}--- ${this.name}, stderr\n${error}`;
  }
}

/** By proc(5): the state stands behind the name, which may have parentheses of its own. */
function isStopped(path: string): boolean {
  try {
    return /\) T [^)]*$/.test(readFileSync(path, "utf8"));
  } catch {
    return false; // The thread has just ended.
  }
}

// Every program ends with its test; what it said is shown where that failed.
afterEach(async ({ task }) => {
  for (const program of started) await program.kill();
  if (task.result?.state === "fail") for (const program of started) console.error(program.told);
  started.clear();
});

/** Resolves when `isTrue`, asked again and again, is; fails after a generous while. */
export async function eventually(what: string, isTrue: () => boolean): Promise<void> {
  const endMs = Date.now() + 60_000;
  while (!isTrue()) {
    if (Date.now() > endMs) throw new Error(`not within 60 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
