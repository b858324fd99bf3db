// Several brokers and workers as processes, ended one after another under load.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { endAll, eventually, Party } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

interface Told {
  asked: number;
  outcomes: Record<string, number>;
  reasons: string[];
  longestMs: number;
  stats: import("../../build/index.js").ClientStats;
}

let folder: string;
let ranPath: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "wq-test-"));
  ranPath = join(folder, "ran");
  writeFileSync(ranPath, "");
});

afterEach(async () => {
  await endAll();
  rmSync(folder, { recursive: true, force: true });
});

/** A broker's process, and the endpoints to start it again at. */
class Place {
  private constructor(
    public party: Party,
    readonly frontend: string,
    readonly backend: string,
  ) {}

  static async start(): Promise<Place> {
    const party = await Party.start("broker", loopback);
    const [frontend] = (await party.until("frontend")) as string[];
    const [backend] = (await party.until("backend")) as string[];
    return new Place(party, frontend, backend);
  }

  async restart(): Promise<void> {
    this.party = await Party.start("broker", { frontend: this.frontend, backend: this.backend });
  }

  async stats() {
    return (await this.party.stats()).stats;
  }
}

async function startPlaces(): Promise<Place[]> {
  return [await Place.start(), await Place.start()];
}

function startWorker(name: string, places: readonly Place[], delayMs = 1): Promise<Party> {
  const brokers = places.map(({ backend }) => backend);
  return Party.start("worker", { name, brokers, delayMs, concurrency: 16, ranPath });
}

function startClient(places: readonly Place[], options = {}): Promise<Party> {
  const brokers = places.map(({ frontend }) => frontend);
  return Party.start("client", { brokers, ...options });
}

/** There may be more of them than a call has arguments. */
function mostOf(counts: Iterable<number>): number {
  let most = 0;
  for (const count of counts) most = Math.max(most, count);
  return most;
}

/** How often each request was run. */
function runCounts(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of readFileSync(ranPath, "utf8").split("\n")) {
    const [id] = line.split(" ");
    if (id !== "") counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

/** Waits for so many more to be run. */
async function runMore(count: number): Promise<void> {
  const before = runCounts().size;
  await eventually(`${count} more are run`, () => runCounts().size >= before + count);
}

/** Ends the clients' asking; what became of it. */
async function stop(clients: readonly Party[]): Promise<Told[]> {
  for (const client of clients) client.send("stop");
  return Promise.all(clients.map(async (client) => (await client.until("told")) as Told));
}

/** Each request that was asked has one outcome, and as many as that were run. */
function expectAllOk(told: readonly Told[]): void {
  for (const { asked, outcomes, reasons, stats } of told) {
    expect(reasons).toEqual([]);
    expect(outcomes).toEqual({ OK: asked });
    expect(stats).toMatchObject({ replies: asked, failures: 0, late: 0, pending: 0 });
  }
}

function sumOf(told: readonly Told[], count: (told: Told) => number): number {
  return told.reduce((sum, each) => sum + count(each), 0);
}

test("a rolling restart of 2 brokers and 4 workers under load fails no request, runs none twice", async () => {
  const places = await startPlaces();
  const workers = new Map<string, Party>();
  for (const name of ["a", "b", "c", "d"]) workers.set(name, await startWorker(name, places));
  const clients = [
    await startClient(places),
    await startClient(places, { depth: 4 }),
    // Nothing of it is lost or given up either, so that one attempt is enough.
    await startClient(places, { attempts: 1 }),
  ];
  await runMore(500);
  for (const place of places) {
    place.party.signal("SIGTERM");
    expect(await place.party.exit()).toBe(0);
    await runMore(200);
    await place.restart();
    await eventually("workers and clients are back", async () => {
      const { workers, clients } = await place.stats();
      return workers === 4 && clients === 3;
    });
    await runMore(200);
  }
  for (const [name, worker] of workers) {
    worker.signal("SIGTERM");
    expect(await worker.exit()).toBe(0);
    await runMore(200);
    workers.set(name, await startWorker(name, places));
    await runMore(200);
  }
  const told = await stop(clients);
  expectAllOk(told);
  expect(sumOf(told, ({ asked }) => asked)).toBeGreaterThan(2500);
  // Nothing had to be guessed: no connection was lost with a request on it.
  expect(sumOf(told, ({ stats }) => stats.resent)).toBe(0);
  const counts = runCounts();
  expect(counts.size).toBe(sumOf(told, ({ asked }) => asked));
  expect(mostOf(counts.values())).toBe(1);
  for (const place of places) {
    expect((await place.stats()).counts).toMatchObject({ redelivered: 0, failures: 0 });
  }
});

test("kill -9 of one of 2 brokers under load: each request answered; it is used again when it is back", async () => {
  const places = await startPlaces();
  for (const name of ["a", "b"]) await startWorker(name, places, 5);
  const clients = [
    await startClient(places, { depth: 64 }),
    await startClient(places, { depth: 128 }),
  ];
  await runMore(1000);
  await places[0].party.kill();
  await runMore(1000);
  await places[0].restart();
  await eventually("it answers again", async () => (await places[0].stats()).counts.replies > 200);
  const told = await stop(clients);
  expectAllOk(told);
  const resent = sumOf(told, ({ stats }) => stats.resent);
  expect(resent).toBeGreaterThan(0);
  // Promised: none is run more often than its attempts, and again only if it was on the broker that
  // died and came to the other worker.
  const counts = [...runCounts().values()];
  expect(counts).toHaveLength(sumOf(told, ({ asked }) => asked));
  expect(mostOf(counts)).toBeLessThanOrEqual(2);
  expect(counts.filter((count) => count > 1).length).toBeLessThanOrEqual(resent);
});

test("kill -9 of one of 2 brokers: one worker runs none twice, whichever way it comes again", async () => {
  const places = await startPlaces();
  await startWorker("only", places, 5);
  const client = await startClient(places, { depth: 128 });
  await runMore(500);
  await places[1].party.kill();
  await runMore(500);
  const told = await stop([client]);
  expectAllOk(told);
  expect(told[0].stats.resent).toBeGreaterThan(0);
  const counts = runCounts();
  expect(counts.size).toBe(told[0].asked);
  expect(mostOf(counts.values())).toBe(1);
});

test("kill -9 of one of 2 brokers, attempts: 1: what was on it is UNAVAILABLE, none is run twice", async () => {
  const places = await startPlaces();
  for (const name of ["a", "b"]) await startWorker(name, places, 5);
  const client = await startClient(places, { depth: 128, attempts: 1 });
  await runMore(500);
  await places[1].party.kill();
  await runMore(500);
  const [{ asked, outcomes, reasons, stats }] = await stop([client]);
  const { OK, UNAVAILABLE, ...others } = outcomes;
  expect(others).toEqual({});
  for (const reason of reasons) expect(reason).toMatch(/^UNAVAILABLE: broker lost: /);
  expect(reasons).not.toEqual([]);
  expect(OK + UNAVAILABLE).toBe(asked);
  expect(stats).toMatchObject({ replies: OK, failures: UNAVAILABLE, resent: 0, late: 0 });
  const counts = runCounts();
  expect(mostOf(counts.values())).toBe(1);
  expect(counts.size).toBeGreaterThanOrEqual(OK);
});
