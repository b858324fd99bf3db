import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { RequestError } from "../base/errors.js";
import { BACKEND_DEFAULT } from "../broker/broker.js";
import type { WorkerOptions } from "../worker/options.js";
import { Worker } from "../worker/worker.js";
import { withCurveKeys } from "./client-flags.js";
import { curveKeysFrom } from "./curve-file.js";
import { dictionariesFrom } from "./dictionary-file.js";
import { keysFrom, serviceKeysFrom } from "./keys-file.js";
import { placeOf } from "./load-error.js";
import {
  exitOnBug,
  LOG_LEVEL_DEFAULT,
  LOG_LEVELS,
  type Log,
  logLevelOf,
  logReady,
  openLog,
} from "./log.js";
import {
  collect,
  DRAIN_TIMEOUT_MS_MAX,
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
that are bytes as they are. A handler that is an async generator answers with a stream. It may export
queues beside that or in its place: an object of queue name -> handler of its tasks.

stdout gets the log, a JSON object a line; "msg":"ready" comes when a broker has taken it on.
SIGTERM and SIGINT drain: it finishes what it has and leaves, at the end of --drain-timeout with a warning
in the log whatever still runs, which goes to other workers. A second signal ends it at once.
While no broker takes it on it tries on, and says in the log why.
WASMQ_LOG_LEVEL is ${LOG_LEVELS.join(", ")} (default ${LOG_LEVEL_DEFAULT}).
Exit codes: 0 drained, or left at the end of --drain-timeout, 1 a bug, 2 wrong usage or a module that cannot be served.`;

/** How long without a broker is worth a word; then it tries anew. */
const PATIENCE_MS = 5_000;

type Services = NonNullable<WorkerOptions["services"]>;

interface WorkerFlags {
  service?: string;
  broker?: string[];
  concurrency?: number | "auto";
  keys?: string;
  serviceKey?: string;
  curveKey?: string;
  serverKey?: string;
  dictionary?: string[];
  drainTimeout?: number;
}

/** `wasmq worker MODULE`. */
export function workerCommand(title: string): Command {
  const serving = newCommand("worker", title)
    .description("serve the handlers of a module until SIGTERM")
    .argument("<module>", "path of an ES module")
    .option("--service <name>", "the service of a module that exports one handler")
    .option(
      "--broker <url>",
      `a broker's backend; may be given several times (env WASMQ_BACKEND, default ${BACKEND_DEFAULT})`,
      collect,
    )
    .option("--concurrency <n>", "requests worked on at once, or auto (default 8)", (text) =>
      text === "auto" ? text : wholeNumberFlag("--concurrency", 1, 65_535, " or auto")(text),
    );
  return withCurveKeys(serving)
    .option("--keys <file>", "keys that open and seal, a token a line (env WASMQ_KEYS)")
    .option(
      "--service-key <file>",
      "its own keys, a token a line: for clients that have a public key of these",
    )
    .option(
      "--dictionary <file>",
      "a dictionary that small bodies may be compressed with; may be given several times",
      collect,
    )
    .option(
      "--drain-timeout <ms>",
      "how long it may take to finish what it has (default 30000)",
      wholeNumberFlag("--drain-timeout", 0, DRAIN_TIMEOUT_MS_MAX),
    )
    .addHelpText("after", HELP)
    .action(runWorker);
}

async function runWorker(path: string, flags: WorkerFlags): Promise<void> {
  const level = logLevelOf("WASMQ_LOG_LEVEL", process.env.WASMQ_LOG_LEVEL || LOG_LEVEL_DEFAULT);
  const brokers = flags.broker ?? listFromEnv(process.env.WASMQ_BACKEND) ?? [BACKEND_DEFAULT];
  const keys = await keysFrom(flags.keys);
  const serviceKeys = await serviceKeysFrom(flags.serviceKey);
  const dictionaries = await dictionariesFrom(flags.dictionary);
  const curve = curveKeysFrom(flags);
  const { services, queues } = await loadWork(path, flags.service);
  const log = openLog(level);
  exitOnBug(log);
  const stop = stopSignal();
  const starting = start(
    {
      brokers,
      keys,
      serviceKeys,
      dictionaries,
      services,
      queues,
      concurrency: flags.concurrency,
      curve,
    },
    log,
  );
  // Until a broker takes it on there is nothing to finish: it just ends.
  const worker = await Promise.race([starting, stop.then(() => undefined)]);
  const signal = await stop;
  log.info({ signal, running: worker?.stats.running ?? 0 }, "draining");
  const isEmpty = await worker?.drain({ timeoutMs: flags.drainTimeout });
  const { replied = 0, failed = 0 } = worker?.stats ?? {};
  if (isEmpty === false) log.warn({ replied, failed }, "closed with handlers still running");
  else log.info({ replied, failed }, "drained");
  // The module may hold things open that are none of ours.
  process.exit(0);
}

/** Resolves when a broker has taken it on: in a deployment the worker may well come up first. */
async function start(options: WorkerOptions, log: Log): Promise<Worker> {
  const { brokers } = options;
  const services = Object.keys(options.services ?? {});
  const queues = Object.keys(options.queues ?? {});
  let isReady = false;
  let told = "";
  for (;;) {
    try {
      return await Worker.start({
        ...options,
        connectTimeoutMs: PATIENCE_MS,
        onError: (error, { service, requestId, signal }) => {
          const fields = { err: error, service, requestId };
          if (signal.aborted) log.debug(fields, "handler stopped when asked to");
          else log.error(fields, "handler failed");
        },
        onConnection: ({ endpoint, state, reason }) => {
          log.info({ endpoint, reason }, `connection ${state}`);
          if (state === "up" && !isReady) {
            isReady = true;
            logReady(log, { services, ...(queues.length > 0 ? { queues } : {}), brokers });
          }
        },
      });
    } catch (error) {
      if (!(error instanceof RequestError)) throw new UsageError(messageOf(error));
      // The same every few seconds would fill the log.
      if (error.reason !== told)
        log.warn({ reason: error.reason }, "no broker has taken it on yet");
      told = error.reason;
    }
  }
}

/** The services that a module's default export stands for, and the queues that it exports. */
async function loadWork(
  path: string,
  name: string | undefined,
): Promise<{ services: Services; queues: WorkerOptions["queues"] }> {
  let module: { default?: unknown; queues?: unknown };
  const { href } = pathToFileURL(resolve(path));
  try {
    module = await import(href);
  } catch (error) {
    const kind = error instanceof Error ? `${error.name}: ` : "";
    throw new UsageError(`cannot load ${path}: ${kind}${messageOf(error)}`, placeOf(error, href));
  }
  const { queues } = module;
  if (queues === undefined) return { services: servicesIn(path, module.default, name), queues };
  if (typeof queues !== "object" || queues === null || Object.keys(queues).length === 0) {
    throw new UsageError(`${path}: queues must be an object of queue name -> handler`);
  }
  // With queues it may have no services.
  const services = module.default === undefined ? {} : servicesIn(path, module.default, name);
  return { services, queues: queues as WorkerOptions["queues"] };
}

function servicesIn(path: string, exported: unknown, name: string | undefined): Services {
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
