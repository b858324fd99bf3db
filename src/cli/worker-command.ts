import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { BACKEND_DEFAULT } from "../broker/broker.js";
import { Worker, type WorkerOptions } from "../worker/worker.js";
import { keysFrom } from "./keys-file.js";
import { exitOnBug, LOG_LEVEL_DEFAULT, type Log, logLevelOf, logReady, openLog } from "./log.js";
import {
  collect,
  listFromEnv,
  messageOf,
  newCommand,
  UsageError,
  wholeNumberFlag,
} from "./program.js";
import { stopSignal } from "./signals.js";

const HELP = `
MODULE is an ES module. Its default export is a handler, (request, context) => reply, whose service
--service names, or an object of service name -> handler, or -> { handler, raw: true } for bodies
that are bytes as they are.

stdout gets the log, a JSON object a line; "msg":"ready" comes when a broker has taken it on.
SIGTERM and SIGINT drain: it finishes what it has and leaves. A second signal ends it at once.`;

/** How long without a broker is worth a word. */
const PATIENCE_MS = 5_000;

type Services = WorkerOptions["services"];

interface WorkerFlags {
  service?: string;
  broker?: string[];
  concurrency?: number;
  keys?: string;
}

/** `wasmq worker MODULE`. */
export function workerCommand(title: string): Command {
  return newCommand("worker", title)
    .description("serve the handlers of a module until SIGTERM")
    .argument("<module>", "path of an ES module")
    .option("--service <name>", "the service of a module that exports one handler")
    .option(
      "--broker <url>",
      `a broker's backend; may be given several times (env WASMQ_BACKEND, default ${BACKEND_DEFAULT})`,
      collect,
    )
    .option(
      "--concurrency <n>",
      "requests worked on at once (default 8)",
      wholeNumberFlag("--concurrency", 1, 65_535),
    )
    .option("--keys <file>", "keys that open and seal, a token a line (env WASMQ_KEYS)")
    .addHelpText("after", HELP)
    .action(runWorker);
}

async function runWorker(path: string, flags: WorkerFlags): Promise<void> {
  const level = logLevelOf("WASMQ_LOG_LEVEL", process.env.WASMQ_LOG_LEVEL || LOG_LEVEL_DEFAULT);
  const brokers = flags.broker ?? listFromEnv(process.env.WASMQ_BACKEND) ?? [BACKEND_DEFAULT];
  const keys = await keysFrom(flags.keys);
  const services = await loadServices(path, flags.service);
  const log = openLog(level);
  exitOnBug(log);
  const stop = stopSignal();
  const worker = await start({ brokers, keys, services, concurrency: flags.concurrency }, log);
  const signal = await stop;
  log.info({ signal, running: worker.stats.running }, "draining");
  await worker.drain();
  const { replied, failed } = worker.stats;
  log.info({ replied, failed }, "drained");
  // The module may hold things open that are none of ours.
  process.exit(0);
}

/** Starts without waiting for a broker: in a deployment the worker may well come up first. */
async function start(options: WorkerOptions, log: Log): Promise<Worker> {
  const { brokers } = options;
  const services = Object.keys(options.services);
  let isReady = false;
  setTimeout(() => {
    if (!isReady) log.warn({ brokers }, "no broker has answered yet");
  }, PATIENCE_MS).unref();
  try {
    return await Worker.start({
      ...options,
      connectTimeoutMs: 0,
      onError: (error, { service, requestId }) =>
        log.error({ err: error, service, requestId }, "handler failed"),
      onConnection: ({ endpoint, state, reason }) => {
        log.info({ endpoint, reason }, `connection ${state}`);
        if (state === "up" && !isReady) {
          isReady = true;
          logReady(log, { services, brokers });
        }
      },
    });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** The services that a module's default export stands for. */
async function loadServices(path: string, name: string | undefined): Promise<Services> {
  let exported: unknown;
  try {
    exported = (await import(pathToFileURL(resolve(path)).href)).default;
  } catch (error) {
    const kind = error instanceof Error ? `${error.name}: ` : "";
    throw new UsageError(`cannot load ${path}: ${kind}${messageOf(error)}`);
  }
  if (typeof exported === "function") {
    if (name !== undefined) return { [name]: exported as Services[string] };
    throw new UsageError(`${path} exports one handler: --service must name its service`);
  }
  if (typeof exported !== "object" || exported === null || Object.keys(exported).length === 0) {
    throw new UsageError(
      `${path} must have a default export: a handler, or an object of service name -> handler`,
    );
  }
  if (name !== undefined) {
    throw new UsageError(`${path} names its services itself: --service is for a single handler`);
  }
  return exported as Services;
}
