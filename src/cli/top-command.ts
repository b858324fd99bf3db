import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { BrokerState } from "../admin/state.js";
import { Status } from "../base/status.js";
import { messageOf, newCommand, oneLine, UsageError, wholeNumberFlag } from "./program.js";
import { Screen } from "./screen.js";
import { stopSignal } from "./signals.js";
import { tokenFrom } from "./token-file.js";
import { TopOrder } from "./top-order.js";
import { topLines } from "./top-view.js";

const URL_DEFAULT = "http://127.0.0.1:9100";
const INTERVAL_MS_DEFAULT = 1_000;
const TIMEOUT_MS = 5_000;
/** Without a terminal, as wide as one, and as long as it takes. */
const PAGE = { columns: 80, rows: Infinity };

const HELP = `
The broker must have been started with --admin. On a terminal the table is redrawn; q or Ctrl-C ends.
Else a table is printed at the end of each interval. RATE/S: requests that ended, however. W50, W99:
50 and 99 of 100 waited no longer for a worker, 0us being at once; S50, S99: the same for the worker's
answer. The busiest service comes first, but rows of about the same rate keep their places.
An error is one line on stderr. Exit codes: 0 ended, 2 wrong usage, 14 no answer from the broker.`;

interface TopFlags {
  adminToken?: string;
  once?: boolean;
  interval?: number;
}

/** `wasmq top [URL]`. */
export function topCommand(title: string): Command {
  return newCommand("top", title)
    .description("show live what a broker does")
    .argument("[url]", `its admin port (env WASMQ_ADMIN, default ${URL_DEFAULT})`)
    .option("--once", "print one table, of one interval, and end")
    .option(
      "--interval <ms>",
      `milliseconds between two tables (default ${INTERVAL_MS_DEFAULT})`,
      wholeNumberFlag("--interval", 100, 3_600_000),
    )
    .option(
      "--admin-token <file>",
      "the bearer token that the broker asks for (env WASMQ_ADMIN_TOKEN)",
    )
    .addHelpText("after", HELP)
    .action(runTop);
}

async function runTop(address: string | undefined, flags: TopFlags): Promise<void> {
  const source: Source = {
    url: stateUrl(address ?? (process.env.WASMQ_ADMIN || URL_DEFAULT)),
    token: tokenFrom(flags.adminToken ?? (process.env.WASMQ_ADMIN_TOKEN || undefined)),
  };
  const { interval = INTERVAL_MS_DEFAULT, once = false } = flags;
  const stop = new AbortController();
  void stopSignal().then(() => stop.abort());
  // Whoever read it is gone: `wasmq top | head`.
  process.stdout.on("error", () => process.exit(0));
  try {
    const first = await readState(source, stop.signal);
    const isLive = process.stdout.isTTY === true && !once;
    if (isLive) await showLive(source, first, interval, stop);
    else await printTables(source, first, interval, once, stop.signal);
  } catch (error) {
    // Asked to end in the middle of something.
    if (stop.signal.aborted) return;
    if (!(error instanceof NoAnswer)) throw error;
    process.stderr.write(`wasmq top: ${error.message}\n`);
    process.exitCode = Status.UNAVAILABLE;
  }
}

/** A table on stdout at the end of each interval. */
async function printTables(
  source: Source,
  first: BrokerState,
  intervalMs: number,
  isOnce: boolean,
  signal: AbortSignal,
): Promise<void> {
  const order = new TopOrder();
  let before = first;
  for (;;) {
    await sleep(intervalMs, undefined, { signal });
    try {
      const now = await readState(source, signal);
      const lines = topLines(now, before, PAGE, order);
      process.stdout.write(`${lines.join("\n")}\n${isOnce ? "" : "\n"}`);
      before = now;
    } catch (error) {
      // It may come back; whoever wanted one table is not kept waiting.
      if (isOnce || !(error instanceof NoAnswer)) throw error;
      process.stderr.write(`wasmq top: ${error.message}\n`);
    }
    if (isOnce) return;
  }
}

/** Redraws until it is stopped; a broker that does not answer may come back. */
async function showLive(
  source: Source,
  first: BrokerState,
  intervalMs: number,
  stop: AbortController,
): Promise<void> {
  const screen = new Screen(() => stop.abort());
  let before: BrokerState | undefined;
  let now = first;
  let heardMs = performance.now();
  let isGone = false;
  let notice = "q ends";
  const order = new TopOrder();
  const draw = () => {
    const goneMs = isGone ? performance.now() - heardMs : undefined;
    screen.draw((view) => topLines(now, before, { ...view, goneMs }, order), notice);
  };
  process.stdout.on("resize", draw);
  try {
    for (;;) {
      draw();
      await sleep(intervalMs, undefined, { signal: stop.signal });
      try {
        const next = await readState(source, stop.signal);
        [before, now, notice] = [now, next, "q ends"];
        [heardMs, isGone] = [performance.now(), false];
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
        [notice, isGone] = [error.message, true];
      }
    }
  } finally {
    screen.close();
  }
}

/** Where a broker's state is: from a URL, or from host:port as the broker itself is told it. */
function stateUrl(address: string): URL {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(address) ? address : `http://${address}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new UsageError(`the URL must be http://host:port, got ${JSON.stringify(address)}`);
  }
  return new URL("/v1/state", url);
}

/** Where a broker's state is read, and the token that it asks for, if it does. */
interface Source {
  url: URL;
  token: string | undefined;
}

/** Nobody answered, or not as a broker does. */
class NoAnswer extends Error {}

async function readState({ url, token }: Source, signal: AbortSignal): Promise<BrokerState> {
  const wrong = (why: string) => new NoAnswer(oneLine(`no answer from ${url.href}: ${why}`));
  let response: Response;
  let state: BrokerState;
  try {
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(url, {
      signal: AbortSignal.any([signal, timeout]),
      redirect: "error",
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
    if (!response.ok) throw wrong(`${response.status} ${await response.text()}`);
    state = (await response.json()) as BrokerState;
  } catch (error) {
    if (error instanceof NoAnswer || signal.aborted) throw error;
    const { cause } = error as Error;
    throw wrong(messageOf(cause ?? error) || "nothing listens there");
  }
  if (state?.startedAt === undefined || !Array.isArray(state.services)) {
    throw wrong("it is no state of a broker");
  }
  return state;
}
