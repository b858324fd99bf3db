// A worker process of the demo: finds countries by their names in any script.
import { parseKey } from "../codec/index.js";
import { type RequestContext, RequestError, Worker } from "../index.js";
import { obeyParent, tell } from "./child.js";
import { Countries, loadCountries } from "./countries.js";
import { clockMs, type FromWorker, NUMBER_HEADER, type ToWorker } from "./messages.js";

let worker: Worker | undefined;

async function onMessage(message: ToWorker): Promise<void> {
  if (message.kind !== "serve") return;
  const { name, backend, keyText, concurrency, holdMs } = message;
  const countries = new Countries(loadCountries());

  /** Tells the story's client what it works on, and takes as long as a database would. */
  const work = async <Answer>(context: RequestContext, answer: () => Answer | undefined) => {
    const number = Number(context.headers[NUMBER_HEADER] ?? -1);
    if (number >= 0) tell<FromWorker>({ kind: "begun", number });
    const found = answer();
    if (number >= 0) {
      await pause(holdMs[0] + Math.random() * (holdMs[1] - holdMs[0]));
      tell<FromWorker>({ kind: "ended", number });
    }
    // Not its name: the reason of a status travels in clear.
    if (found === undefined) throw new RequestError("NOT_FOUND", "no country has such a name");
    return { answer: found, worker: name, attempt: context.attempt };
  };

  worker = await Worker.start({
    brokers: [backend],
    keys: [await parseKey(keyText)],
    concurrency,
    services: {
      "countries.find": (body: unknown, context) => {
        const wanted = text(body, "name");
        return work(context, () => countries.find(wanted));
      },
      "countries.route": (body: unknown, context) => {
        const [from, to] = [text(body, "from"), text(body, "to")];
        return work(context, () => countries.route(from, to));
      },
      // For plain REQ sockets of any language: a name in, JSON out, both in clear.
      default: {
        raw: true,
        handler: (body: Uint8Array) => {
          const found = countries.find(Buffer.from(body).toString());
          return JSON.stringify(found ?? { error: "no country has such a name" });
        },
      },
    },
    onError: (error) => console.error(`worker ${name}:`, error),
  });
  tell<FromWorker>({ kind: "joined", atMs: clockMs() });
}

/** The text that `body` has as `field`. */
function text(body: unknown, field: string): string {
  const value = (body as Record<string, unknown> | null)?.[field];
  if (typeof value === "string" && value !== "" && value.length <= 200) return value;
  throw new RequestError("INVALID_ARGUMENT", `"${field}" must be a text of 1..200 characters`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const leave = obeyParent(onMessage, async (isOrphan) =>
  isOrphan ? worker?.close() : worker?.drain({ timeoutMs: 3000 }),
);
// What a process manager would send: drains, as the parent's word does.
process.on("SIGTERM", leave);
