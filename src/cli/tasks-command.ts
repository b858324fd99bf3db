import type { Command } from "commander";
import { RequestError } from "../base/errors.js";
import { Status } from "../base/status.js";
import { Client } from "../client/client.js";
import type { DeadLetter } from "../client/pushes.js";
import { frontendsFrom, withCurveKeys, withFrontends } from "./client-flags.js";
import { curveKeysFrom } from "./curve-file.js";
import { jsonText } from "./json-text.js";
import { messageOf, newCommand, oneLine, UsageError, wholeNumberFlag } from "./program.js";

const CONNECT_MS_MAX = 5_000;

const HELP = `
Exit codes: 0, or gRPC's number for what went wrong (7 PERMISSION_DENIED, 14 UNAVAILABLE, 16
UNAUTHENTICATED); 2 is wrong usage.`;

interface TasksFlags {
  curveKey?: string;
  serverKey?: string;
  broker?: string[];
  count?: number;
}

/** `wasmq tasks list QUEUE` and `wasmq tasks retry QUEUE`. */
export function tasksCommand(title: string): Command {
  const list = withBroker(newCommand("list", `${title} list`))
    .description("list the dead letters of a queue, oldest first: one line of JSON each")
    .argument("<queue>", "the queue")
    .action((queue: string, flags: TasksFlags) =>
      run(`${title} list`, flags, async (client) => {
        for (const letter of await client.deadLetters(queue)) print(letter);
      }),
    );
  const retry = withBroker(newCommand("retry", `${title} retry`))
    .description("try the dead letters of a queue anew, oldest first, and say how many")
    .argument("<queue>", "the queue")
    .option(
      "--count <n>",
      "at most so many (default: all)",
      wholeNumberFlag("--count", 1, 0xffffffff),
    )
    .action((queue: string, flags: TasksFlags) =>
      run(`${title} retry`, flags, async (client) => {
        const retried = await client.retryDeadLetters(queue, { countMax: flags.count });
        process.stdout.write(`${JSON.stringify({ retried })}\n`);
      }),
    );
  return newCommand("tasks", title)
    .description("look after tasks that failed too often")
    .helpCommand(false)
    .addCommand(list)
    .addCommand(retry);
}

function withBroker(command: Command): Command {
  return withCurveKeys(withFrontends(command)).addHelpText("after", HELP);
}

function print(letter: DeadLetter): void {
  process.stdout.write(`${jsonText(letter)}\n`);
}

async function run(
  title: string,
  flags: TasksFlags,
  what: (client: Client) => Promise<void>,
): Promise<void> {
  const brokers = frontendsFrom(flags.broker);
  const curve = curveKeysFrom(flags);
  let client: Client | undefined;
  try {
    client = await Client.connect({ brokers, curve, connectTimeoutMs: CONNECT_MS_MAX });
    await what(client);
  } catch (error) {
    if (!(error instanceof RequestError)) throw new UsageError(messageOf(error));
    process.stderr.write(`${title}: ${oneLine(error.message)}\n`);
    process.exitCode = Status[error.code];
  } finally {
    await client?.close({ timeoutMs: 0 });
  }
}
