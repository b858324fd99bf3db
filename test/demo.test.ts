import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { afterEach, describe, expect, test, vi } from "vitest";
import { parseKey } from "../build/codec/index.js";
import { Countries, foldName, loadCountries } from "../build/demo/countries.js";
import { percentile, Tally } from "../build/demo/tally.js";
import { formatBar, Terminal } from "../build/demo/terminal.js";
import { Client } from "../build/index.js";

const ANY_PORTS = ["--frontend", "tcp://127.0.0.1:0", "--backend", "tcp://127.0.0.1:0"];

/** A run of the demo, in a process group of its own as under a terminal. */
class Run {
  out = "";
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  #onText = () => {};

  constructor(...args: string[]) {
    this.child = spawn(process.execPath, ["build/demo/main.js", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.out += text;
        this.#onText();
      });
    }
    // "close" comes when all who could write have gone: the demo and each of its children.
    this.ended = new Promise((resolve) => this.child.once("close", resolve));
    runs.push(this);
  }

  /** Resolves when the output has `text`; rejects when it has ended without. */
  async until(text: string): Promise<void> {
    const shown = new Promise<void>((resolve) => {
      this.#onText = () => this.out.includes(text) && resolve();
      this.#onText();
    });
    const ended = this.ended.then(() => {
      if (!this.out.includes(text)) throw new Error(`ended without "${text}":\n${this.out}`);
    });
    await Promise.race([shown, ended]);
  }

  /** The number in the table's row. */
  figure(row: string): number {
    const match = new RegExp(`^${row} +([\\d,]+)`, "m").exec(this.out);
    if (match === null) throw new Error(`no row "${row}" in:\n${this.out}`);
    return Number(match[1].replaceAll(",", ""));
  }

  /** Replies of a worker, by the table. */
  repliesOf(name: string): number {
    return Number(new RegExp(`^${name} +\\d+ +([\\d,]+)`, "m").exec(this.out)![1].replace(",", ""));
  }

  /** The processes it told of. */
  get pids(): number[] {
    return [...this.out.matchAll(/\(pid (\d+)\)/g)].map((match) => Number(match[1]));
  }

  /** Those of them that are left. */
  get left(): number[] {
    return this.pids.filter(isRunning);
  }
}

/** Whether a process is there, and is not one that only waits for its exit code to be read. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    if (process.platform !== "linux") return true;
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

const runs: Run[] = [];

afterEach(async () => {
  for (const run of runs.splice(0)) {
    if (run.child.exitCode === null) run.child.kill("SIGKILL");
    await run.ended;
  }
});

describe("the story", () => {
  test("--once: a worker killed, one added, nothing lost, nobody left", async () => {
    const run = new Run("--once", "--requests", "2000", ...ANY_PORTS);
    expect(await run.ended, run.out).toBe(0);
    expect(run.figure("sent")).toBe(2000);
    expect(run.figure("replies")).toBe(2000);
    for (const row of ["wrong", "lost", "duplicates"]) expect(run.figure(row)).toBe(0);
    const killed = /worker ([ABC]) \(pid (\d+)\) killed with SIGKILL, (\d+) requests in work/.exec(
      run.out,
    )!;
    expect(Number(killed[3])).toBeGreaterThan(0);
    expect(run.figure("redelivered")).toBeGreaterThan(0);
    expect(run.figure("begun twice")).toBeGreaterThan(0);
    expect(run.out).toMatch(/those \d+ were done again by/);
    expect(run.repliesOf(killed[1])).toBeGreaterThan(0);
    expect(run.repliesOf("D")).toBeGreaterThan(0);
    // From its joining on, not from the machine's start.
    const first = /worker D joined; first reply ([\d.]+) ms later/.exec(run.out)!;
    expect(Number(first[1])).toBeLessThan(20_000);
    const shares = ["A", "B", "C", "D"].map((name) => run.repliesOf(name));
    expect(shares.reduce((sum, share) => sum + share)).toBe(2000);
    // Of each direction, what went over the wire: JSON, MessagePack, sealed.
    for (const row of ["requests", "replies"]) {
      expect(run.out).toMatch(
        new RegExp(`^${row} +[1-9][\\d,]+ +[1-9][\\d,]+ +[1-9][\\d,]+ +\\d+ % of JSON$`, "m"),
      );
    }
    // Plain lines: no terminal, no bar, no colour.
    for (const control of ["\r", "\x1b"]) expect(run.out).not.toContain(control);
    expect(new Set(run.pids).size).toBe(5);
    expect(run.left).toEqual([]);
  });

  test("what is lost is counted, and is exit 1", async () => {
    const run = new Run("--once", "--requests", "1000", "--attempts", "1", ...ANY_PORTS);
    expect(await run.ended, run.out).toBe(1);
    const lost = run.figure("lost");
    expect(lost).toBeGreaterThan(0);
    expect(run.figure("replies")).toBe(1000 - lost);
    expect(run.out).toContain("got no reply: UNAVAILABLE");
    expect(run.left).toEqual([]);
  });

  test("stays up to be called, and leaves on Ctrl-C with all of its processes", async () => {
    const run = new Run("--requests", "1000", ...ANY_PORTS);
    await run.until("Ctrl-C ends it all");
    expect(run.figure("lost")).toBe(0);
    const keyFile = /--keys (\S+)/.exec(run.out)![1];
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    const client = await Client.connect({
      brokers: [/--broker (\S+)/.exec(run.out)![1]],
      keys: [await parseKey(readFileSync(keyFile, "utf8"))],
    });
    type Found = { answer: { countries: { code: string }[] } };
    const { answer } = await client.request<Found>("countries.find", { name: "日本" });
    expect(answer.countries.map(({ code }) => code)).toEqual(["JPN"]);
    const plain = await client.request<Uint8Array>("default", "Ελλάδα", { raw: true });
    expect(JSON.parse(Buffer.from(plain).toString()).countries[0].code).toBe("GRC");
    await client.close();
    // To the whole group, as a terminal sends it, and once more as npm passes it on.
    process.kill(-run.child.pid!, "SIGINT");
    run.child.kill("SIGINT");
    expect(await run.ended, run.out).toBe(0);
    expect(run.out).toContain("no process is left");
    expect(existsSync(keyFile)).toBe(false);
    expect(run.left).toEqual([]);
  });

  test("killed itself, it leaves no orphans", async () => {
    const run = new Run("--requests", "100000", ...ANY_PORTS);
    await run.until("client (this process)");
    run.child.kill("SIGKILL");
    await run.ended;
    // A process closes its output before it is gone.
    await vi.waitFor(() => expect(run.left).toEqual([]), 10_000);
  });

  test("a port that is taken is one line and exit 2", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const taken = `tcp://127.0.0.1:${port}`;
    const run = new Run("--once", "--frontend", "tcp://127.0.0.1:0", "--backend", taken);
    expect(await run.ended).toBe(2);
    expect(run.out).toContain(`cannot listen on ${taken}`);
    expect(run.out.trim().split("\n").length).toBe(2);
    server.close();
  });
});

describe("the tally", () => {
  const reply = { worker: "A", latencyMs: 1, isRight: true };

  test("is clean when each request has one right reply", () => {
    const tally = new Tally();
    for (const number of [0, 1, 2]) tally.onSent(number);
    for (const number of [2, 0, 1]) tally.onReply(number, reply);
    expect(tally).toMatchObject({ sent: 3, replies: 3, lost: 0, duplicates: 0, isClean: true });
  });

  test("finds what is missing, doubled, wrong and late", () => {
    const missing = new Tally();
    missing.onSent(0);
    missing.onSent(1);
    missing.onReply(1, reply);
    expect(missing).toMatchObject({ lost: 1, isClean: false });
    missing.onFailure(0, "UNAVAILABLE: worker lost");
    expect(missing).toMatchObject({ lost: 1, replies: 1, isClean: false });

    const doubled = new Tally();
    doubled.onSent(0);
    doubled.onReply(0, reply);
    doubled.onReply(0, { ...reply, worker: "B" });
    expect(doubled).toMatchObject({ replies: 1, duplicates: 1, lost: 0, isClean: false });
    expect(doubled.repliesByWorker.get("B")).toBe(undefined);

    const wrong = new Tally();
    wrong.onSent(0);
    wrong.onReply(0, { ...reply, isRight: false });
    expect(wrong).toMatchObject({ wrong: 1, isClean: false });

    const late = new Tally();
    late.late = 1;
    expect(late).toMatchObject({ duplicates: 1, isClean: false });
  });

  test("tells work begun twice from work finished twice", () => {
    const tally = new Tally();
    for (const number of [0, 1]) tally.onBegun(number);
    tally.onBegun(0);
    tally.onEnded(0);
    expect(tally).toMatchObject({ begunTwice: 1, finishedTwice: 0 });
    tally.onEnded(0);
    expect(tally.finishedTwice).toBe(1);
  });

  test("percentiles are by nearest rank", () => {
    const values = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect([0.5, 0.99, 1].map((share) => percentile(values, share))).toEqual([50, 99, 100]);
    expect(percentile([], 0.5)).toBe(0);
  });
});

describe("the service", () => {
  const countries = new Countries(loadCountries());
  const codesOf = (name: string) => countries.find(name)?.countries.map(({ code }) => code);

  test.each([
    ["Ελλάδα", "GRC"],
    ["ΕΛΛΑΔΑ", "GRC"],
    ["مصر", "EGY"],
    ["日本", "JPN"],
    ["ประเทศไทย", "THA"],
    ["cote d'ivoire", "CIV"],
    ["Côte d’Ivoire".normalize("NFD"), "CIV"],
    ["대한민국", "KOR"],
  ])("%s is %s", (name, code) => {
    expect(codesOf(name)).toEqual([code]);
  });

  test("a name that two countries share finds both, a misspelt one the closest", () => {
    expect(codesOf("Kongo")).toEqual(["COD", "COG"]);
    expect(countries.find("Щвейцаря")).toMatchObject({ match: "close" });
    expect(codesOf("Щвейцаря")).toEqual(["CHE"]);
    expect(countries.find("zzzzzzzzzzzz")).toBe(undefined);
    expect(countries.find("")).toBe(undefined);
  });

  test("vowels that are marks stay apart", () => {
    expect(foldName("कि")).not.toBe(foldName("कु"));
    expect(foldName("  Åland-Islands ")).toBe("aland islands");
  });

  test("a route over land is the one of the fewest borders", () => {
    const route = countries.route("Португалия", "中国")!;
    expect(route).toMatchObject({ from: "Portugal", to: "China", km: 9255 });
    expect([route.overLand[0], route.overLand.at(-1)]).toEqual(["PRT", "CHN"]);
    expect(route.overLand.length).toBe(7);
    expect(countries.route("日本", "中国")!.overLand).toEqual([]);
    expect(countries.route("日本", "日本")).toMatchObject({ km: 0, overLand: ["JPN"] });
  });
});

describe("the terminal", () => {
  test("the bar fits in every width", () => {
    const progress = { done: 700, total: 1000, note: "700 replies, 1,012/s" };
    for (let columns = 1; columns <= 120; columns++) {
      expect(formatBar(progress, columns).length).toBeLessThan(columns);
    }
    expect(formatBar(progress, 60)).toBe(
      "[######################.........] 70%  700 replies, 1,012/s",
    );
  });

  test("colours only where there are any and NO_COLOR does not forbid them", () => {
    const toldTo = (isTTY: boolean, environment: NodeJS.ProcessEnv) => {
      let text = "";
      const write = (part: string) => (text += part);
      const output = { isTTY, columns: 80, hasColors: () => true, write };
      new Terminal(output, environment).tell("once upon a time", 1234);
      return text.replace("\r\x1b[K", "");
    };
    expect(toldTo(true, {})).toBe("\x1b[2m 1.23 s\x1b[22m  once upon a time\n");
    for (const plain of [toldTo(false, {}), toldTo(true, { NO_COLOR: "1" })]) {
      expect(plain).toBe(" 1.23 s  once upon a time\n");
    }
  });
});
