import { constants } from "node:os";

/** A SIGINT so soon after another is the same one. */
const ECHO_MS = 150;

export type StopSignal = "SIGTERM" | "SIGINT";

/**
 * Resolves at the first SIGTERM or SIGINT. A second one ends the process at once, with 128 plus
 * its number.
 *
 * Under npm one Ctrl-C arrives twice, from the terminal and from npm, which passes on what the
 * terminal already sent to all: the echo does not count.
 */
export function stopSignal(): Promise<StopSignal> {
  return new Promise((resolve) => {
    let isStopping = false;
    let interruptedMs = -Infinity;
    const onSignal = (signal: StopSignal) => {
      const nowMs = performance.now();
      const isEcho = signal === "SIGINT" && nowMs - interruptedMs < ECHO_MS;
      if (signal === "SIGINT") interruptedMs = nowMs;
      if (isEcho) return;
      if (isStopping) process.exit(128 + constants.signals[signal]);
      isStopping = true;
      resolve(signal);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}
