import { type Logger, pino } from "pino";
import { printableJson } from "./printable.js";
import { UsageError } from "./program.js";

export type Log = Logger;

export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_LEVEL_DEFAULT: LogLevel = "info";

/** `value` if it is a log level; `name` says where it came from. */
export function logLevelOf(name: string, value: unknown): LogLevel {
  const level = LOG_LEVELS.find((known) => known === value);
  if (level !== undefined) return level;
  throw new UsageError(
    `${name} must be one of ${LOG_LEVELS.join(", ")}, got ${JSON.stringify(value)}`,
  );
}

/**
 * A log to stdout, a JSON object a line, written before the call returns: the last words of a
 * process that exits are not lost.
 */
export function openLog(level: LogLevel): Log {
  const options = {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const stdout = pino.destination({ dest: 1, sync: true });
  // Reasons and names are others' words, and a terminal may show them.
  return pino(options, { write: (line) => void stdout.write(printableJson(line)) });
}

/** The ready line: whatever the level, since what starts a process waits for it. */
export function logReady(log: Log, fields: object): void {
  log.child({}, { level: "info" }).info(fields, "ready");
}

/** Has an error that nothing caught logged as fatal; the process ends with code 1. */
export function exitOnBug(log: Log): void {
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "bug: an error that nothing caught");
    process.exit(1);
  });
}
