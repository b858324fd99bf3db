import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/**
 * @typedef {"broker" | "worker" | "client"} Kind
 * @typedef {"starting" | "running" | "stopped" | "leaving" | "ended"} State
 */

/** One place of the cast: a process, and after its end the next in the same role. */
export class Party {
  /** @type {State} */
  state = "ended";
  /** How often a process was started for it. */
  incarnation = 0;
  /** When its processes ended, milliseconds since 1970. */
  /** @type {number[]} */
  endedMs = [];
  /** Never made to end: what it was given must not be lost. */
  isSpared = false;
  /** Set while a fault is being done to it: no second one at once. */
  isTroubled = false;
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #child;
  /** @type {Promise<void>} */
  #exited = Promise.resolve();
  #stderr = "";
  #options;
  #onViolation;

  /**
   * @param {Kind} kind
   * @param {string} name
   * @param {(incarnation: number) => object} options of each process, as its argv
   * @param {(what: string) => void} onViolation told when it ends unasked
   */
  constructor(kind, name, options, onViolation) {
    this.kind = kind;
    this.name = name;
    this.#options = options;
    this.#onViolation = onViolation;
  }

  get pid() {
    return this.#child?.pid;
  }

  /** Starts a process; resolves when it says that it is ready. */
  async start() {
    this.state = "starting";
    const script = fileURLToPath(new URL(`parties/${this.kind}.mjs`, import.meta.url));
    const child = fork(script, [JSON.stringify(this.#options(++this.incarnation))], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child = child;
    this.#stderr = "";
    child.stderr?.on("data", (text) => (this.#stderr = (this.#stderr + text).slice(-4000)));
    this.#exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        const isExpected = signal === "SIGKILL" || (this.state === "leaving" && code === 0);
        if (!isExpected) {
          const how = signal ?? `code ${code}`;
          this.#onViolation(`${this.name} (${this.state}) ended with ${how}: ${this.#stderr}`);
        }
        this.state = "ended";
        this.endedMs.push(Date.now());
        resolve();
      });
    });
    await this.told("ready", 20_000);
    if (this.state === "starting") this.state = "running";
  }

  /**
   * Resolves with what the process says under this name.
   * @param {string} what
   * @param {number} timeoutMs
   * @returns {Promise<any>}
   */
  told(what, timeoutMs) {
    const child = this.#child;
    if (child === undefined) throw new Error(`${this.name} was never started`);
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        child.off("message", onMessage);
        child.off("exit", onExit);
      };
      const onMessage = (/** @type {any} */ message) => {
        if (!(what in message)) return;
        done();
        resolve(message[what]);
      };
      const onExit = () => {
        done();
        reject(new Error(`${this.name} ended before it said "${what}"`));
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`${this.name} did not say "${what}" within ${timeoutMs} ms`));
      }, timeoutMs);
      child.on("message", onMessage);
      child.once("exit", onExit);
    });
  }

  /** @param {any} message */
  tell(message) {
    this.#child?.send(message);
  }

  stop() {
    this.state = "stopped";
    this.#child?.kill("SIGSTOP");
  }

  resume() {
    this.state = "running";
    this.#child?.kill("SIGCONT");
  }

  /** Ends at once; resolves when it has. */
  async kill() {
    if (this.state !== "ended") this.#child?.kill("SIGKILL");
    await this.#exited;
  }

  /**
   * Asked to leave in good order; one that has not after `timeoutMs` is a violation, and killed.
   * @param {number} timeoutMs
   */
  async leave(timeoutMs) {
    if (this.state === "ended") return;
    this.state = "leaving";
    this.#child?.kill("SIGTERM");
    const timer = setTimeout(() => {
      this.#onViolation(`${this.name} did not leave within ${timeoutMs} ms of SIGTERM`);
      this.#child?.kill("SIGKILL");
    }, timeoutMs);
    await this.#exited;
    clearTimeout(timer);
  }
}
