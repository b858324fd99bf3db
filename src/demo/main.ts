// `npm start`: the main job told in lines, with a table at the end. See HELP in options.ts.
import { RequestError } from "../index.js";
import { CastError } from "./cast.js";
import { type CountryEntry, loadCountries } from "./countries.js";
import { type DemoOptions, FRONTEND_DEFAULT, HELP, readOptions } from "./options.js";
import { reportLines } from "./report.js";
import { Story } from "./story.js";
import { Terminal } from "./terminal.js";

const JOB_TIME_MAX_MS = 60_000;
const LEAVE_TIME_MAX_MS = 10_000;
/** npm, its shell and the terminal may each pass the same Ctrl-C on. */
const SAME_SIGNAL_MS = 1000;

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

function fail(reason: string, code: number): never {
  console.error(reason);
  process.exit(code);
}

function prepare(): { options: DemoOptions; entries: CountryEntry[] } {
  try {
    const options = readOptions(process.argv.slice(2));
    if (options === "help") {
      console.log(HELP);
      process.exit(0);
    }
    return { options, entries: loadCountries() };
  } catch (error) {
    return fail(`demo: ${(error as Error).message}`, EXIT_USAGE);
  }
}

/** Resolves at the first word to leave; a second one, later, is not waited for any more. */
function wordToLeave(story: Story): Promise<"leave"> {
  return new Promise((resolve) => {
    let firstMs: number | undefined;
    const onWord = () => {
      firstMs ??= performance.now();
      resolve("leave");
      if (performance.now() - firstMs < SAME_SIGNAL_MS) return;
      story.killAll();
      process.exit(EXIT_FAILED);
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onWord);
    // Nobody reads any more, as with `npm start | head`.
    process.stdout.on("error", onWord);
  });
}

function howToCall(story: Story): string[] {
  const { frontend, keyFile } = story;
  const rest = `--keys ${keyFile}${frontend === FRONTEND_DEFAULT ? "" : ` --broker ${frontend}`}`;
  const send = `s.connect("${frontend}")`;
  return [
    "The broker and its workers stay up. Ask them yourself, from another terminal in this folder:",
    "",
    `  npx wasmq call countries.find '{"name":"日本"}' ${rest}`,
    `  npx wasmq call countries.route '{"from":"Португалия","to":"ประเทศไทย"}' ${rest}`,
    "",
    "or, without a key and in clear, from a ZeroMQ REQ socket in any language:",
    "",
    `  node -e 'const s = new (require("zeromq").Request)(); ${send}; s.send("Ελλάδα").then(() => s.receive()).then((r) => { console.log(String(r)); s.close() })'`,
    `  python3 -c 'import zmq; s = zmq.Context().socket(zmq.REQ); ${send}; s.send_string("Ελλάδα"); print(s.recv_string())'`,
    "",
    "Kill a worker (kill -9 and its pid) and ask again. Ctrl-C ends it all.",
  ];
}

async function main(): Promise<void> {
  const { options, entries } = prepare();
  const terminal = new Terminal(process.stdout);
  const story = new Story(options, terminal, entries);
  terminal.tell("wasmq: a broker, three workers and a client, each a process of its own");
  const leaving = wordToLeave(story);

  const code = await perform(story, options, terminal, leaving);

  terminal.hideBar();
  const startedMs = performance.now();
  const isLate = () => {
    story.killAll();
    fail(`demo: not everything left within ${LEAVE_TIME_MAX_MS} ms; killed`, EXIT_FAILED);
  };
  setTimeout(isLate, LEAVE_TIME_MAX_MS).unref();
  const didLeave = await story.leave();
  const tookMs = Math.round(performance.now() - startedMs);
  // Nothing had begun: its one line says why.
  if (story.frontend === "") process.exit(code);
  const how = didLeave ? "workers drained, broker closed" : "some had to be killed";
  terminal.tell(`${how}, in ${tookMs} ms; no process is left`);
  process.exit(code);
}

/** The job and what follows it; resolves with the exit code when it is time to leave. */
async function perform(
  story: Story,
  options: DemoOptions,
  terminal: Terminal,
  leaving: Promise<"leave">,
): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), JOB_TIME_MAX_MS);
  });
  try {
    const end = await Promise.race([story.run(), leaving, timeUp]);
    clearTimeout(timer);
    terminal.hideBar();
    if (end === "leave") return options.isOnce ? EXIT_FAILED : 0;
    if (end === "late") {
      console.error(`demo: not done within ${JOB_TIME_MAX_MS / 1000} s, giving up`);
      return EXIT_FAILED;
    }
  } catch (error) {
    terminal.hideBar();
    if (!(error instanceof CastError || error instanceof RequestError)) throw error;
    const isTaken = error.code === "EADDRINUSE";
    const hint = isTaken ? "; give others with --frontend and --backend" : "";
    console.error(`demo: ${error.message}${hint}`);
    // Not to be had: for whoever started it to change.
    return isTaken || error.code === "EACCES" || error.code === "EADDRNOTAVAIL"
      ? EXIT_USAGE
      : EXIT_FAILED;
  }
  const { tally, workers, meter } = story;
  for (const line of ["", ...reportLines(tally, workers, meter!), ""]) terminal.print(line);
  if (options.isOnce) return tally.isClean ? 0 : EXIT_FAILED;
  story.writeKey();
  for (const line of howToCall(story)) terminal.print(line);
  const how = await Promise.race([leaving, story.brokerGone()]);
  if (how === "leave") return 0;
  console.error(`demo: the broker is gone: ${how}`);
  return EXIT_FAILED;
}

await main();
