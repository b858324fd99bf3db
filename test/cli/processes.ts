import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const build = fileURLToPath(new URL("../../build/", import.meta.url));
const MAIN = join(build, "cli/main.js");
const BROKER = join(build, "broker.js");

/** A line of a log. */
export interface LogLine {
  msg: string;
  level: string;
  [field: string]: unknown;
}

/** How a process ended and what it wrote. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A process of a test, which waits for its lines and its end. */
export class Running {
  readonly ended: Promise<Ended>;
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  #isOver = false;
  #onOutput = new Set<() => void>();

  constructor(command: string, args: readonly string[], options: RunOptions = {}) {
    const { env = {}, cwd, input } = options;
    this.child = spawn(command, args, {
      cwd,
      env: { ...cleanEnv(), ...env },
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    this.child.stdin?.end(input);
    const told = () => {
      for (const look of [...this.#onOutput]) look();
    };
    this.child.stdout?.on("data", (chunk) => {
      this.stdout += chunk;
      told();
    });
    this.child.stderr?.on("data", (chunk) => {
      this.stderr += chunk;
      told();
    });
    this.ended = new Promise((resolve) => {
      this.child.on("close", (code, signal) => {
        this.#isOver = true;
        told();
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  get log(): LogLine[] {
    const lines = this.stdout.split("\n").slice(0, -1);
    return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  /** The first log line with this message. */
  logged(msg: string): Promise<LogLine> {
    return this.until(`log line "${msg}"`, () => this.log.find((line) => line.msg === msg));
  }

  /** What `find` finds in the output, as soon as it does. */
  until<T>(what: string, find: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = find();
        if (found === undefined && !this.#isOver) return;
        this.#onOutput.delete(look);
        if (found !== undefined) resolve(found);
        else reject(new Error(`no ${what} before it ended: ${this.stdout}${this.stderr}`));
      };
      this.#onOutput.add(look);
      look();
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}

interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  input?: string;
}

/** Processes and files of one test, all gone after it. */
export class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), "wasmq-cli-"));
  readonly #running: Running[] = [];

  run(command: string, args: readonly string[], options?: RunOptions): Running {
    const running = new Running(command, args, options);
    this.#running.push(running);
    return running;
  }

  /** `node build/cli/main.js ARGS` */
  wasmq(args: readonly string[], options?: RunOptions): Running {
    return this.run(process.execPath, [MAIN, ...args], options);
  }

  /** `node build/broker.js ARGS` */
  brokerJs(args: readonly string[], options?: RunOptions): Running {
    return this.run(process.execPath, [BROKER, ...args], options);
  }

  /** A broker that is ready, and its real endpoints. */
  async broker(config: object = {}) {
    const any = "tcp://127.0.0.1:0";
    const file = this.file(
      "broker.json",
      JSON.stringify({ frontend: any, backend: any, ...config }),
    );
    const running = this.brokerJs(["--config", file]);
    const { frontend, backend } = await running.logged("ready");
    return {
      running,
      frontend: (frontend as string[])[0],
      backend: (backend as string[])[0],
    };
  }

  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  async clear(): Promise<void> {
    for (const running of this.#running) running.kill("SIGKILL");
    await Promise.all(this.#running.map(({ ended }) => ended));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The environment without what npm and a developer's shell put into it. */
export function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(npm_|WASMQ_|NODE_OPTIONS$|VITEST)/i.test(name),
    ),
  );
}
