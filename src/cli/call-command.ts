import type { Command } from "commander";
import { RequestError } from "../base/errors.js";
import { Status } from "../base/status.js";
import { Client } from "../client/client.js";
import type { ClientOptions } from "../client/options.js";
import { frontendsFrom, withCurveKeys, withFrontends } from "./client-flags.js";
import { curveKeysFrom } from "./curve-file.js";
import { dictionariesFrom } from "./dictionary-file.js";
import { jsonText } from "./json-text.js";
import { keysFrom, publicKeyFrom } from "./keys-file.js";
import { collect, messageOf, newCommand, oneLine, UsageError, wholeNumberFlag } from "./program.js";
import { stopSignal } from "./signals.js";

const TIMEOUT_MS_DEFAULT = 30_000;
/** How long it waits at first before it looks why there is no broker; then twice that, and so on. */
const CONNECT_MS_FIRST = 1_000;

const HELP = `
--timeout is for all of it: where no broker is up yet, one is waited for as long, and what is left then
is for the reply. A broker that refuses to have us (UNAUTHENTICATED, PERMISSION_DENIED) ends it sooner.

The reply is one line of JSON on stdout: 64-bit integers that JSON cannot hold as digits in a
string, dates in ISO 8601, bytes in base64. With --raw it is the reply's bytes as they are.
An error is one line on stderr. The exit code is 0, or gRPC's number for how the request failed:
1 CANCELLED, 3 INVALID_ARGUMENT, 4 DEADLINE_EXCEEDED, 5 NOT_FOUND, 7 PERMISSION_DENIED,
8 RESOURCE_EXHAUSTED, 10 ABORTED, 13 INTERNAL, 14 UNAVAILABLE, 16 UNAUTHENTICATED. 2 is wrong usage.`;

interface CallFlags {
  broker?: string[];
  timeout?: number;
  raw?: boolean;
  priority?: number;
  keys?: string;
  serviceKey?: string;
  curveKey?: string;
  serverKey?: string;
  dictionary?: string[];
}

/** `wasmq call SERVICE JSON`. */
export function callCommand(title: string): Command {
  const asking = withFrontends(
    newCommand("call", title)
      .description("send one request and print its reply")
      .argument("<service>", "the service to ask")
      .argument("<json>", "the request's body; - reads it from stdin"),
  )
    .option(
      "--timeout <ms>",
      `how long to wait for a broker and its reply, milliseconds (default ${TIMEOUT_MS_DEFAULT})`,
      wholeNumberFlag("--timeout", 1, 86_400_000),
    )
    .option("--raw", "send the body as it is, without the codec: for plain REP workers")
    .option(
      "--priority <n>",
      "0 (first) to 7 (last) (default 4)",
      wholeNumberFlag("--priority", 0, 7),
    );
  return withCurveKeys(asking)
    .option("--keys <file>", "keys that seal and open, a token a line (env WASMQ_KEYS)")
    .option("--service-key <file>", "the service's public key: seals without a shared key")
    .option(
      "--dictionary <file>",
      "a dictionary that small bodies are compressed with; may be given several times",
      collect,
    )
    .addHelpText("after", HELP)
    .action(runCall);
}

async function runCall(service: string, text: string, flags: CallFlags): Promise<void> {
  const keys = await keysFrom(flags.keys);
  const publicKey = await publicKeyFrom(flags.serviceKey);
  const dictionaries = await dictionariesFrom(flags.dictionary);
  const curve = curveKeysFrom(flags);
  const body = await readBody(text, flags.raw === true);
  const timeoutMs = flags.timeout ?? TIMEOUT_MS_DEFAULT;
  const endMs = performance.now() + timeoutMs;
  const abortion = new AbortController();
  let client: Client | undefined;
  void stopSignal().then((signal) => {
    if (client === undefined) process.exit(Status.CANCELLED);
    abortion.abort(`stopped by ${signal}`);
  });
  try {
    const options = {
      brokers: frontendsFrom(flags.broker),
      keys,
      servicePublicKeys: publicKey === undefined ? undefined : { "*": publicKey },
      dictionaries,
      curve,
    };
    client = await connect(options, endMs);
    const { raw, priority } = flags;
    const { signal } = abortion;
    const request = { timeoutMs: msUntil(endMs), raw, priority, signal };
    printReply(await client.request(service, body, request), raw);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    const { message, retryAfterMs } = error;
    const retry = retryAfterMs > 0 ? ` (try again in ${retryAfterMs} ms)` : "";
    process.stderr.write(`wasmq call: ${oneLine(message)}${retry}\n`);
    process.exitCode = Status[error.code];
  } finally {
    await client?.close({ timeoutMs: 0 });
  }
}

/** Connects before `endMs`, however late a broker comes. One that will not have us is not asked for long. */
async function connect(options: ClientOptions, endMs: number): Promise<Client> {
  for (let waitMs = CONNECT_MS_FIRST; ; waitMs *= 2) {
    const leftMs = msUntil(endMs);
    try {
      return await Client.connect({ ...options, connectTimeoutMs: Math.min(waitMs, leftMs) });
    } catch (error) {
      if (!(error instanceof RequestError)) throw new UsageError(messageOf(error));
      if (error.code !== "UNAVAILABLE" || waitMs >= leftMs) throw error;
    }
  }
}

/** Whole milliseconds, one at least: what options take. */
function msUntil(endMs: number): number {
  return Math.max(1, Math.ceil(endMs - performance.now()));
}

async function readBody(text: string, isRaw: boolean): Promise<unknown> {
  const given = text === "-" ? await readStdin() : Buffer.from(text);
  if (isRaw) return given;
  try {
    return JSON.parse(given.toString());
  } catch (error) {
    const where = text === "-" ? "stdin" : "the body";
    throw new UsageError(`${where} is not JSON: ${messageOf(error)}`);
  }
}

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function printReply(reply: unknown, isRaw = false): void {
  if (!isRaw) process.stdout.write(`${jsonText(reply)}\n`);
  else {
    process.stdout.write(reply as Uint8Array);
    if (process.stdout.isTTY) process.stdout.write("\n");
  }
}
