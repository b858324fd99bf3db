import { parseArgs } from "node:util";
import { endpoint } from "../base/check.js";

export interface DemoOptions {
  isOnce: boolean;
  frontend: string;
  backend: string;
  requestCount: number;
  attempts: number;
}

export const FRONTEND_DEFAULT = "tcp://127.0.0.1:5559";

export const HELP = `npm start -- [options]

Starts a broker, three workers and a client, kills a worker in mid-work, adds another, and tells
what became of each request. Then it stays up, to be called, until Ctrl-C.

  --once            leave after the table; exit 0 when nothing was lost, doubled or wrong, else 1
  --requests N      requests to send, 1000..1000000 (default 5000)
  --attempts N      how often one may be handed to a worker (default 3); with 1, what a killed
                    worker has in flight is lost, and the table says so
  --frontend URL    where clients connect (default ${FRONTEND_DEFAULT}; port 0 takes any)
  --backend URL     where workers connect (default tcp://127.0.0.1:5560)
  --help            this`;

/** The options in `args`, or "help". Throws an Error of one line for what is none. */
export function readOptions(args: readonly string[]): DemoOptions | "help" {
  const { values } = parseArgs({
    args: [...args],
    strict: true,
    options: {
      once: { type: "boolean", default: false },
      requests: { type: "string", default: "5000" },
      attempts: { type: "string", default: "3" },
      frontend: { type: "string", default: FRONTEND_DEFAULT },
      backend: { type: "string", default: "tcp://127.0.0.1:5560" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  return {
    isOnce: values.once,
    frontend: endpoint("--frontend", values.frontend),
    backend: endpoint("--backend", values.backend),
    requestCount: wholeNumber("--requests", values.requests, 1000, 1_000_000),
    attempts: wholeNumber("--attempts", values.attempts, 1, 255),
  };
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new Error(`${name} must be a whole number ${least}..${most}, got "${text}"`);
}
