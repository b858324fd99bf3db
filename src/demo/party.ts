import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Another process of the story, from its start to its end. */
export class Party<To extends { kind: string }, From extends { kind: string }> {
  /** Resolves with how it ended, once the last that it said has been heard. */
  readonly gone: Promise<string>;
  isGone = false;
  readonly #child: ChildProcess;

  constructor(
    script: string,
    readonly onMessage: (message: From) => void,
  ) {
    this.#child = fork(fileURLToPath(new URL(script, import.meta.url)), {
      // No stdin: it is the terminal's, and closed where there is none.
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      execArgv: [],
    });
    this.#child.on("message", (message) => this.onMessage(message as From));
    this.gone = this.#untilGone();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  tell(message: To | { kind: "leave" }): void {
    // It may have gone in between; `gone` says so.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async #untilGone(): Promise<string> {
    const child = this.#child;
    let failure = "";
    const exited = new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", (error) => {
        failure = error.message;
        resolve();
      });
    });
    // What it said last may still be in the channel when it has exited.
    const heard = new Promise<void>((resolve) => child.once("disconnect", () => resolve()));
    await exited;
    if (failure === "") await heard;
    this.isGone = true;
    return failure || (child.signalCode ?? `exit code ${child.exitCode}`);
  }
}
