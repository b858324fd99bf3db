// Bugs on purpose, to show that the simulation finds them: each is the compiled core with one piece of
// text replaced, in a folder of its own. The production files have no trace of them.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { must } from "./log.ts";
import type { CoreClass } from "./model.ts";

export interface Mutant {
  readonly name: string;
  /** A file of build/core. */
  readonly file: string;
  /** Found exactly once. */
  readonly find: string;
  readonly replace: string;
  /** The simulation finds it within this many seeds, from 1 on. */
  readonly seedsMax: number;
}

const mutant = (
  name: string,
  file: string,
  find: string,
  replace: string,
  seedsMax = 20,
): Mutant => ({ name, file, find, replace, seedsMax });

export const mutants: readonly Mutant[] = [
  mutant("drop-the-fence", "requests.js", "this.generation[slot] === generation &&", ""),
  mutant("answer-for-another", "requests.js", "this.worker[slot] === worker &&", ""),
  mutant(
    "keep-the-generation",
    "core.js",
    "requests.generation[slot]++;",
    "requests.generation[slot] ||= 1;",
  ),
  mutant(
    "leak-a-credit",
    "core.js",
    "        this.#takeBack(service, worker, slot);\n        this.requests.free(slot);\n",
    "        this.#takeBack(service, worker, slot);\n        if (this.requests.state[slot] === ABANDONED) worker.inFlight++;\n        this.requests.free(slot);\n",
  ),
  mutant(
    "count-a-long-wait-as-expired",
    "outcomes.js",
    "this.counts.refused++;\n        this.counts.refusedAfterWait++;",
    "this.counts.expired++;",
  ),
  mutant(
    "forget-a-deadline",
    "core.js",
    "if (command.isTask !== true)\n",
    "if (command.isTask === true)\n",
  ),
  mutant(
    "forget-that-a-deadline-was-cleared",
    "../base/deadlines.js",
    "        this.#unlink(slot);\n        this.count--;",
    "        this.#unlink(slot);",
  ),
  mutant(
    "keep-the-deadline-of-a-given-back",
    "core.js",
    "        this.#expiry.onQueued(service, slot, this.#nowMs);\n        service.queue.pushReturned",
    "        service.queue.pushReturned",
    60,
  ),
  mutant(
    "dispatch-after-cancel",
    "core.js",
    "            service.queue.remove(slot);\n            if (service.queue.count === 0)",
    "            if (service.queue.count === 0)",
  ),
  mutant(
    "dispatch-after-deadline",
    "core.js",
    "if (this.#nowMs >= this.requests.deadlineMs[slot]) {",
    "if (false) {",
  ),
  mutant(
    "dispatch-to-a-drained",
    "core.js",
    '        worker.move("draining");\n        this.registry.exit(worker);',
    '        worker.move("draining");',
  ),
  mutant(
    "reply-twice",
    "core.js",
    "this.#effects.reply(this.requests.client[slot], slot);",
    "this.#effects.reply(this.requests.client[slot], slot); this.#effects.reply(this.requests.client[slot], slot);",
  ),
  mutant(
    "reply-after-cancel",
    "core.js",
    "if (this.requests.state[slot] === DISPATCHED) {\n            this.counts.replies++;",
    "{\n            this.counts.replies++;",
  ),
  mutant("lose-a-given-back", "core.js", "        service.queue.pushReturned(slot);\n", ""),
  mutant(
    "given-back-goes-last",
    "core.js",
    "service.queue.pushReturned(slot);",
    "service.queue.push(slot);",
  ),
  mutant(
    "one-attempt-too-many",
    "core.js",
    "requests.attempt[slot] < requests.attemptsMax[slot]",
    "requests.attempt[slot] <= requests.attemptsMax[slot]",
  ),
  mutant(
    "begin-anew-after-a-part",
    "core.js",
    "requests.attemptsMax[slot] = requests.attempt[slot];",
    ";",
    240,
  ),
  mutant(
    "stream-grant-not-checked",
    "streams.js",
    'if (this.parts >= this.partsMax)\n            return "more parts than were granted";',
    "",
    400,
  ),
  mutant("stream-bytes-not-counted", "streams.js", "this.bytes += bytes;", "", 400),
  mutant("stream-order-not-checked", "streams.js", "if (index !== next)", "if (false)", 400),
  mutant(
    "stream-part-after-its-end",
    "core.js",
    "if (requests.state[slot] === ABANDONED) {\n            if (isLast)",
    "if (false) {\n            if (isLast)",
  ),
  mutant(
    "stream-goes-on-elsewhere",
    "core.js",
    "this.streams.at(slot)?.isBound !== true",
    "true",
    400,
  ),
  mutant(
    "stream-grant-of-the-last-attempt",
    "streams.js",
    "this.partsBefore = this.parts;",
    "",
    400,
  ),
  mutant(
    "stream-grant-not-told",
    "streams.js",
    "if (stream.partsMax > stream.partsBefore)",
    "if (false)",
  ),
  mutant(
    "wrong-byte-count",
    "core.js",
    "requests.bytesHeld -= requests.bytes[slot];",
    "requests.bytesHeld -= Math.min(requests.bytes[slot], 32);",
  ),
  mutant("wrong-queue-bytes", "queue.js", "this.bytes -= bytes;", "this.bytes -= bytes & ~1;"),
  mutant(
    "idle-beside-a-queue",
    "core.js",
    "            this.#feed(worker);\n        }\n        else if",
    "            worker.pool.place(worker);\n        }\n        else if",
  ),
  mutant("latest-first", "queue.js", "const oldest = flow.head;", "const oldest = flow.tail;"),
  mutant("client-shares-forgotten", "queue.js", "        flow.waiter.count--;\n", ""),
  mutant("index-entry-remains", "request-index.js", "        this.#count--;\n", ""),
];

export function requireMutant(name: string): Mutant {
  const found = mutants.find((one) => one.name === name);
  if (found === undefined) {
    const names = mutants.map((one) => one.name).join(", ");
    throw new RangeError(`--mutant must be one of ${names}, got ${name}`);
  }
  return found;
}

/** The core with `mutant` in it. */
export async function loadMutant(mutant: Mutant): Promise<CoreClass> {
  const { Core } = await loadMutated(mutant, "core.js");
  return Core as CoreClass;
}

/** What `entry` of the core exports, with this bug in it. */
export async function loadMutated(
  { name, file, find, replace }: Mutant,
  entry: string,
): Promise<Record<string, unknown>> {
  const build = fileURLToPath(new URL("../../build/", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "wqm-"));
  try {
    for (const room of ["core", "base"]) {
      cpSync(join(build, room), join(folder, room), { recursive: true });
    }
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    const path = join(folder, "core", file);
    const text = readFileSync(path, "utf8");
    const count = text.split(find).length - 1;
    must(count === 1, `mutant ${name}: its text is in ${file} ${count} times, not once`);
    writeFileSync(
      path,
      text.replace(find, () => replace),
    );
    const url = pathToFileURL(join(folder, "core", entry)).href;
    return await import(/* @vite-ignore */ url);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
