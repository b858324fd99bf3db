import { fork } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const brokerParty = new URL("../broker/party.mjs", import.meta.url);
const END_MS = 3_000;

/** One process of a contender: its broker, a worker or its client; or one that measures. */
export class Party {
  #child;
  #lastId = 0;
  /** @type {Map<number, { resolve(value: any): void, reject(error: Error): void }>} */
  #calls = new Map();
  #exited;
  #name;

  /**
   * @param {string} name
   * @param {import("node:child_process").ChildProcess} child
   */
  constructor(name, child) {
    this.#name = name;
    this.#child = child;
    child.on("message", (/** @type {any} */ { id, value, error }) => {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) call?.resolve(value);
      else call?.reject(new Error(`${name}: ${error}`));
    });
    this.#exited = new Promise((resolve) => {
      const onGone = (/** @type {string} */ how) => {
        for (const { reject } of this.#calls.values()) reject(new Error(`${name} ${how}`));
        this.#calls.clear();
        resolve(undefined);
      };
      child.once("exit", (code, signal) => onGone(`ended with ${signal ?? `code ${code}`}`));
      child.once("error", (error) => onGone(`failed: ${error.message}`));
    });
  }

  /**
   * Has the process do something and resolves with what came of it.
   * @param {string} what
   * @param {object} options
   * @param {number} timeoutMs
   * @returns {Promise<any>}
   */
  ask(what, options = {}, timeoutMs = 15_000) {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(new Error(`${this.#name} did not answer "${what}" within ${timeoutMs} ms`));
      }, timeoutMs);
      const settled =
        (/** @type {(value: any) => void} */ settle) => (/** @type {any} */ value) => {
          clearTimeout(timer);
          settle(value);
        };
      this.#calls.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this.#child.send({ id, what, options }, (error) => {
        if (error !== null) this.#calls.get(id)?.reject(error);
      });
    });
  }

  /** Lets the process leave in good order; after a while it is killed, by its own pid. */
  async end() {
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), END_MS);
    await this.#exited;
    clearTimeout(timer);
  }
}

/** All processes that a run has started, and the folder that their files are in. */
export class Parties {
  #folder = mkdtempSync(join(tmpdir(), "wqb-"));
  /** @type {Set<Party>} */
  #parties = new Set();
  #isEnded = false;

  /**
   * @param {string} name
   * @param {{ script?: URL, module?: URL, profileFolder?: string }} options what it runs, and the
   *   module of its contender
   */
  start(name, { script = brokerParty, module, profileFolder }) {
    if (this.#isEnded) throw new Error("the run was ended");
    if (profileFolder !== undefined) mkdirSync(profileFolder, { recursive: true });
    const file = `${name.replaceAll(/[^\w.-]+/g, "-")}.cpuprofile`;
    const child = fork(fileURLToPath(script), module === undefined ? [] : [module.href], {
      env: { ...process.env, TMPDIR: this.#folder },
      execArgv:
        profileFolder === undefined
          ? []
          : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${file}`],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const party = new Party(name, child);
    this.#parties.add(party);
    return party;
  }

  /** @param {Party} party */
  async end(party) {
    await party.end();
    this.#parties.delete(party);
  }

  /** Ends whatever still runs and removes what it left. */
  async endAll() {
    this.#isEnded = true;
    await Promise.all([...this.#parties].map((party) => this.end(party)));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
