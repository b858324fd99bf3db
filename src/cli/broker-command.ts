import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import {
  BACKEND_DEFAULT,
  Broker,
  FRONTEND_DEFAULT,
  XPUB_DEFAULT,
  XSUB_DEFAULT,
} from "../broker/broker.js";
import { type BrokerFlags, settleBrokerConfig } from "./broker-config.js";
import { curvePairFrom } from "./curve-file.js";
import { tuneEngine } from "./engine.js";
import { exitOnBug, LOG_LEVEL_DEFAULT, LOG_LEVELS, type Log, logReady, openLog } from "./log.js";
import {
  collect,
  DRAIN_TIMEOUT_MS_MAX,
  messageOf,
  newCommand,
  packageVersion,
  UsageError,
  wholeNumberFlag,
} from "./program.js";
import { SecurityLog } from "./security-log.js";
import { stopSignal } from "./signals.js";
import { tokenFrom } from "./token-file.js";

const STATS_INTERVAL_MS = 10_000;

const HELP = `
Flags come before the environment (lists separated by commas), that before the config file.
The config file is a JSON object: frontend, backend, xsub, xpub, push, pull, curveKey, access, insecure, admin,
adminToken, logLevel, limits, services, tasks, heartbeatIntervalMs, heartbeatTimeoutMs, handshakeTimeoutMs, mdpHeartbeatMs,
mdpLiveness, mdpBusyLiveness, connectionsMax, drainTimeoutMs.

Without a curve key only loopback and ipc are listened on, or, with --insecure, anything. With one every
connection is under CURVE, and what --access does not grant its key is refused. SIGHUP reads the access
file again: whoever may still be here is not disturbed, others are cut off. docs/security.md has the form.

The admin port answers GET /metrics (Prometheus), /healthz, /readyz and /v1/state (JSON), on
loopback, or anywhere to those who bring the token; wasmq top shows the same live.

stdout gets the log, a JSON object a line; "msg":"ready" comes when it listens, with the real
endpoints. stderr gets one line when it cannot start. SIGTERM and SIGINT drain: no more requests
are taken, those in flight are answered; what is not by the end of --drain-timeout is given up, with a
warning in the log. A second signal ends it at once.
Exit codes: 0 drained, or closed at the end of --drain-timeout, 1 a bug, 2 wrong usage or an endpoint that cannot be had.`;

/** `wasmq broker`, and the whole of build/broker.js. */
export function brokerCommand(name: string, title: string): Command {
  return newCommand(name, title)
    .description("run a broker until SIGTERM")
    .version(packageVersion(), "--version", "show the version")
    .option(
      "--frontend <url>",
      `where clients connect, tcp or ipc; may be given several times (env WASMQ_FRONTEND, default ${FRONTEND_DEFAULT})`,
      collect,
    )
    .option(
      "--backend <url>",
      `where workers connect, tcp or ipc; may be given several times (env WASMQ_BACKEND, default ${BACKEND_DEFAULT})`,
      collect,
    )
    .option(
      "--xsub <url>",
      `where plain PUB sockets connect; may be given several times (env WASMQ_XSUB, default ${XSUB_DEFAULT}, but none where --frontend or --backend is given; "none": nowhere)`,
      collect,
    )
    .option(
      "--xpub <url>",
      `where plain SUB sockets connect; the same (env WASMQ_XPUB, default ${XPUB_DEFAULT})`,
      collect,
    )
    .option(
      "--push <url>",
      "where plain PUSH sockets connect, for the queue default, which under CURVE their key must be granted to push to (env WASMQ_PUSH, default: nowhere)",
    )
    .option(
      "--pull <url>",
      "where plain PULL sockets connect, for the same, granted to pull from (env WASMQ_PULL, default: nowhere)",
    )
    .option(
      "--curve-key <file>",
      "its CURVE key pair, of wasmq keys new --curve (env WASMQ_CURVE_KEY)",
    )
    .option("--access <file>", "who may do what under CURVE, by key (env WASMQ_ACCESS)")
    .option("--insecure", "listen on other than loopback without CURVE")
    .option(
      "--admin <host:port>",
      "where to be watched over HTTP, on loopback unless there is a token (env WASMQ_ADMIN, default: nowhere)",
    )
    .option(
      "--admin-token <file>",
      "the bearer token that its requests must bring (env WASMQ_ADMIN_TOKEN)",
    )
    .option(
      "--drain-timeout <ms>",
      "how long it may take to answer what it holds (default 10000)",
      wholeNumberFlag("--drain-timeout", 0, DRAIN_TIMEOUT_MS_MAX),
    )
    .option("--config <file>", "settings as JSON (env WASMQ_CONFIG)")
    .option(
      "--log-level <level>",
      `${LOG_LEVELS.join(", ")} (env WASMQ_LOG_LEVEL, default ${LOG_LEVEL_DEFAULT})`,
    )
    .addHelpText("after", HELP)
    .action((flags: BrokerFlags) => runBroker(flags));
}

/** The broker's side of CURVE; both files or none. */
function curveFrom(keyPath: string | undefined, access: string | undefined) {
  const pair = curvePairFrom(keyPath);
  if (pair === undefined && access === undefined) return undefined;
  if (pair === undefined)
    throw new UsageError("--access needs --curve-key: nobody shows a key else");
  if (access === undefined) {
    throw new UsageError("--curve-key needs --access: who is not in that file may do nothing");
  }
  return { ...pair, access };
}

/** Takes the access file as it is now; the old one stays where that is none. */
function reload(broker: Broker, access: string | undefined, log: Log): void {
  if (access === undefined) {
    log.info("SIGHUP: there is no access file to read again");
    return;
  }
  try {
    const { keyCount, cutCount } = broker.reloadAccess();
    log.info({ access, keys: keyCount, cut: cutCount }, "access file read again");
  } catch (error) {
    log.error({ access }, `access file not taken, the old one stays: ${messageOf(error)}`);
  }
}

async function runBroker(flags: BrokerFlags): Promise<void> {
  const { logLevel, drainTimeoutMs, curveKey, access, adminToken, ...options } = settleBrokerConfig(
    flags,
    process.env,
  );
  const curve = curveFrom(curveKey, access);
  const log = openLog(logLevel);
  exitOnBug(log);
  tuneEngine();
  const stop = stopSignal();
  const refused = new SecurityLog(log);
  const starting = Broker.start({
    ...options,
    curve,
    adminToken: tokenFrom(adminToken),
    onSecurity: (event) => refused.add(event),
    onWarning: (text) => log.warn(text),
  }).catch((error) => {
    throw new UsageError(messageOf(error));
  });
  // Options that are none reject before anything is listened on, and the log stays empty.
  await Promise.race([starting, setImmediate()]);
  log.info({ version: packageVersion(), node: process.version }, "starting");
  const broker = await starting;
  const { frontend, backend, xsub, xpub, push, pull, admin } = broker;
  // Before the ready line: whoever waits for it may send one at once.
  process.on("SIGHUP", () => reload(broker, access, log));
  logReady(log, { frontend, backend, xsub, xpub, push, pull, admin });
  if (log.isLevelEnabled("debug")) {
    setInterval(() => log.debug(broker.stats, "stats"), STATS_INTERVAL_MS).unref();
  }
  const signal = await stop;
  log.info({ signal, requests: broker.stats.requests }, "draining");
  const isEmpty = await broker.close({ timeoutMs: drainTimeoutMs });
  if (isEmpty) log.info({ counts: broker.stats.counts }, "drained");
  else log.warn({ requests: broker.stats.requests }, "closed with requests unanswered");
  process.exit(0);
}
