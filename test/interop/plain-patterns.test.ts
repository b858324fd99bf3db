// Unmodified PUB, SUB, PUSH and PULL sockets of every language, beside each other and natives.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Broker, Client, Worker } from "../../build/index.js";
import { hearers, sayers } from "./kinds.js";
import { eventually, Program } from "./program.js";

const ANY = "tcp://127.0.0.1:0";
const languages = Object.keys(sayers);

let broker: Broker;
let client: Client;
let worker: Worker | undefined;
beforeEach(async () => {
  const plain = { xsub: ANY, xpub: ANY, push: ANY, pull: ANY };
  broker = await Broker.start({ frontend: ANY, backend: ANY, ...plain });
  client = await Client.connect({ brokers: broker.frontend });
});
afterEach(async () => {
  await worker?.close();
  worker = undefined;
  await client.close({ timeoutMs: 0 });
  await broker.close({ timeoutMs: 0 });
});

/** Resolves when it reads its lines: what is said before would come all at once, beyond a PUB's mark. */
async function sayer(language: string, kind: "PUB" | "PUSH"): Promise<Program> {
  const endpoint = kind === "PUB" ? broker.xsub[0] : (broker.push as string);
  const program = new Program(`${kind} in ${language}`, [...sayers[language], kind, endpoint]);
  await program.until("each line goes to ");
  return program;
}

function hearer(language: string, kind: "SUB" | "PULL", ...prefixes: string[]): Program {
  const endpoint = kind === "SUB" ? broker.xpub[0] : (broker.pull as string);
  const command = [...hearers[language], kind, endpoint, ...prefixes];
  return new Program(`${kind} in ${language}`, command);
}

const lineOf = (frames: readonly string[]) => `${frames.join("\t")}\n`;
const LARGE = "0123456789".repeat(10_000);
/** Where a test fails, all that differs is printed. */
const brief = (text: string) => text.replaceAll(LARGE, "100 kB");
/** Behind a topic, or by themselves: of one frame and of two, empty ones, beyond ASCII, of 100 kB; and many. */
const BODIES = [
  [""],
  ["größe 数"],
  [LARGE],
  ["", ""],
  ["head", ""],
  ["", "tail"],
  [LARGE, LARGE],
  ...Array.from({ length: 200 }, (_, i) => [`number ${i}`]),
];

describe.each(languages)("a PUB in %s", (language) => {
  test("is heard by natives and SUBs of every language, each message once and in order", async () => {
    const subs = languages.map((each) => hearer(each, "SUB", "news."));
    const subscription = client.subscribe<Uint8Array>("news.>", { raw: true });
    await subscription.ready();
    const events: [topic: string, body: string][] = [];
    const reading = (async () => {
      for await (const { topic, body } of subscription) {
        events.push([topic, brief(Buffer.from(body).toString())]);
        if (topic === "news.last") return;
      }
    })();
    const pub = await sayer(language, "PUB");
    // It says nothing before it is asked, and SUBs hear nothing before they have.
    await eventually("all hear it", () => {
      const isHeard = subs.every(({ stdout }) => stdout.includes("news.marker\n"));
      if (!isHeard || events.length === 0) pub.say("news.marker\n");
      return isHeard && events.length > 0;
    });
    const topics = ["news.a", "sports", "news.b.c", "new"];
    const messages = [
      ["news.alone"],
      ...BODIES.flatMap((body, i) => topics.map((topic) => [`${topic}${i}`, ...body])),
      ["news.last"],
    ];
    const expected = messages.filter(([topic]) => topic.startsWith("news."));
    pub.end(messages.map(lineOf).join(""));
    await pub.output();
    await reading;
    const isMarker = ([topic]: string[]) => topic === "news.marker";
    expect(events.filter((event) => !isMarker(event))).toEqual(
      expected.map(([topic, ...body]) => [topic, brief(body.join(""))]),
    );
    for (const sub of subs) {
      await sub.until("news.last\n");
      const said = expected.map(lineOf).join("");
      expect(brief(sub.stdout.replaceAll("news.marker\n", ""))).toBe(brief(said));
    }
    // What nobody asked for it has not sent: the native heard all that came.
    const counts = { heard: events.length, notNative: 0, dropped: 0 };
    expect(broker.stats.topics.plain).toMatchObject(counts);
  });
});

describe.each(languages)("a SUB in %s", (language) => {
  test("hears of natives what begins with its prefixes, each once and in order", async () => {
    const sub = hearer(language, "SUB", "news.e", "weather");
    await eventually("it hears", () => {
      void client.publish("news.e.marker", "", { raw: true });
      return sub.stdout.includes("news.e.marker");
    });
    const topics = ["news.e", "news.us", "weather", "news.europe.bern", "old.news.e", "weatherman"];
    const messages = BODIES.filter((body) => body.length === 1).flatMap(([body]) =>
      topics.map((topic) => [topic, body]),
    );
    messages.push(["weather.last", "that was it"]);
    for (const [topic, body] of messages) await client.publish(topic, body, { raw: true });
    await sub.until("that was it\n");
    const isHeard = ([topic]: string[]) => /^news\.e|^weather/.test(topic);
    const heard = messages.filter(isHeard).map(lineOf).join("");
    expect(brief(sub.stdout.replaceAll("news.e.marker\t\n", ""))).toBe(brief(heard));
    expect(broker.stats.topics.plain).toMatchObject({ dropped: 0, prefixesRefused: 0 });
  });
});

const counts = () => broker.stats.tasks.counts;
const queue = () => broker.stats.tasks.queues[0];
const isServing = (count: number) => () => broker.stats.workers === count;

/** A native worker of `default` that does one task after the other; what it has done. */
async function startWorker(): Promise<readonly string[]> {
  const done: string[] = [];
  const handler = (task: Uint8Array) => void done.push(Buffer.from(task).toString());
  const queues = { default: { handler, raw: true } };
  worker = await Worker.start({ brokers: broker.backend, concurrency: 1, queues });
  return done;
}

describe.each(languages)("a PUSH in %s", (language) => {
  test("has its tasks done by a native worker, each once and in order", async () => {
    const push = await sayer(language, "PUSH");
    push.end(BODIES.map(lineOf).join(""));
    await push.output();
    await eventually("all are taken", () => counts().pushed === BODIES.length);
    const done = await startWorker();
    await eventually("all are done", () => counts().done === BODIES.length);
    expect(done.map(brief)).toEqual(BODIES.map((frames) => brief(frames.join(""))));
    expect(counts()).toMatchObject({ pushed: BODIES.length, failed: 0, refused: 0 });
  });

  test("reaches PULLs of every language in turn, frames and all, each task one of them", async () => {
    const pulls = languages.map((each) => hearer(each, "PULL"));
    await eventually("all are there", isServing(pulls.length));
    const push = await sayer(language, "PUSH");
    push.end(BODIES.map(lineOf).join(""));
    await push.output();
    const linesOf = ({ stdout }: Program) => stdout.match(/.*\n/g) ?? [];
    await eventually("they have all", () => {
      return pulls.reduce((sum, pull) => sum + linesOf(pull).length, 0) >= BODIES.length;
    });
    const all = pulls.flatMap(linesOf).map(brief);
    expect(all.sort()).toEqual(BODIES.map(lineOf).map(brief).sort());
    for (const pull of pulls) expect(linesOf(pull).length).toBeGreaterThan(0);
    await eventually("all are done", () => counts().done === BODIES.length);
    expect(counts()).toMatchObject({ pushed: BODIES.length, failed: 0 });
  });
});

describe.each(languages)("a PULL in %s", (language) => {
  const push = (task: string) => client.push("default", task, { raw: true });

  test("gets what natives push, each once and in order", async () => {
    const tasks = BODIES.flatMap((body) => (body.length === 1 ? body : []));
    const pull = hearer(language, "PULL");
    for (const task of tasks) await push(task);
    await push("last");
    await pull.until("last\n");
    expect(brief(pull.stdout)).toBe([...tasks, "last"].map((task) => `${brief(task)}\n`).join(""));
    await eventually("all are done", () => counts().done === tasks.length + 1);
    expect(counts().failed).toBe(0);
  });

  test("killed: what it was sent is lost, what it had in part is another's at once, and the rest", async () => {
    const pull = hearer(language, "PULL");
    await eventually("it is there", isServing(1));
    await push("read");
    await pull.until("read\n");
    await pull.stop();
    for (const task of ["lost 1", "lost 2"]) await push(task);
    await eventually("the system has taken both", () => counts().done === 3);
    // More than the system takes for one that does not read.
    const large = LARGE.repeat(150);
    await push(large);
    await eventually("it has the large one in part", () => queue()?.inFlight === 1);
    await push("behind it");
    await pull.kill();
    await eventually("its end is seen", isServing(0));
    expect(counts()).toMatchObject({ done: 3, failed: 0 });
    const done = await startWorker();
    await eventually("the rest is done", () => counts().done === 5);
    expect(done.map((task) => (task === large ? "the large one" : brief(task)))).toEqual([
      "the large one",
      "behind it",
    ]);
    // Not a failure, after which it would have waited.
    expect(counts()).toMatchObject({ pushed: 5, failed: 0, retried: 0 });
    expect(pull.stdout).toBe("read\n");
  });
});
