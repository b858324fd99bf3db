import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Stage } from "./processes.js";

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.clear());

const run = (...args: string[]) => stage.wasmq(["dictionary", ...args]).ended;
const order = (index: number) =>
  JSON.stringify({ orderId: index * 7919, state: "accepted", carrier: "PostNord", gift: false });
const lines = (count: number) => Array.from({ length: count }, (_, i) => order(i)).join("\n");

async function trained(): Promise<string> {
  const out = join(stage.folder, "orders.dictionary");
  const samples = stage.file("orders.ndjson", `${lines(100)}\n\n`);
  const { code, stderr } = await run("train", "--lines", samples, "--size", "300", "--out", out);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return out;
}

describe("wasmq dictionary", () => {
  it("trains on lines, says what it is worth on others, and shows it", async () => {
    const samples = stage.file("orders.ndjson", lines(100));
    const out = join(stage.folder, "orders.dictionary");
    const { code, stdout } = await run("train", "--lines", samples, "--size", "512", "--out", out);
    expect(code).toBe(0);
    const [name, of, ...rest] = stdout.trim().split("\n");
    expect(of).toBe("made of 80 samples; of 20 others:");
    const bytes = rest.slice(0, 3).map((line) => Number(/(\d+) bytes/.exec(line)?.[1]));
    expect(bytes[1]).toBeLessThanOrEqual(bytes[0]);
    expect(bytes[2]).toBeLessThan(bytes[0] / 2);
    expect(rest.at(-1)).toBe(`written to ${out}`);
    expect(readFileSync(out).length).toBeLessThanOrEqual(512);
    expect(statSync(out).mode & 0o777).toBe(0o600);
    expect((await run("show", out)).stdout).toBe(`${name}\n`);
    const again = await run("train", "--lines", samples, "--out", out);
    expect(again.code).toBe(2);
    expect(again.stderr).toContain("exists and is not overwritten");
    // Before it trains: nothing is told of what came of it.
    expect(again.stdout).toBe("");
    const nowhere = join(stage.folder, "none", "d");
    const lost = await run("train", "--lines", samples, "--out", nowhere);
    expect(lost).toMatchObject({ code: 2, stdout: "" });
    expect(lost.stderr).toContain("there is no folder");
  });

  it("takes each file as a sample, JSON as MessagePack", async () => {
    const json = Array.from({ length: 10 }, (_, i) => stage.file(`${i}.json`, order(i)));
    const texts = Array.from({ length: 10 }, (_, i) => stage.file(`${i}.txt`, order(i)));
    for (const paths of [json, texts]) {
      const { stdout, code } = await run("train", ...paths);
      expect(code).toBe(0);
      expect(stdout).toContain("made of 8 samples; of 2 others:");
      expect(stdout).toContain("not written: --out names a file");
    }
  });

  it("says in one line what is wrong", async () => {
    const few = stage.file("few.ndjson", lines(9));
    const broken = stage.file("broken.ndjson", `${lines(20)}\n{`);
    const empty = stage.file("empty.dictionary", "");
    const wrong: [string[], RegExp][] = [
      [["train"], /missing required argument 'files'/],
      [["train", few], /10 samples or more are needed, got 1; with --lines/],
      [["train", "--lines", few], /10 samples or more are needed, got 9$/m],
      [["train", "--lines", broken], /broken\.ndjson, line 21: /],
      [["train", join(stage.folder, "no")], /no: ENOENT/],
      [["train", few, "--size", "70000"], /--size must be a whole number 256\.\.65536/],
      [["show", empty], /DICTIONARY_INVALID: a dictionary has 8\.\.65536 bytes, got 0/],
      [["eat"], /unknown command 'eat'/],
    ];
    for (const [args, words] of wrong) {
      const { code, stdout, stderr } = await run(...args);
      expect(stderr).toMatch(words);
      expect(stderr.trim().split("\n")).toHaveLength(1);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    }
  });

  it("serves call and worker, whichever has it", async () => {
    const dictionary = await trained();
    const { frontend, backend } = await stage.broker();
    const module = stage.file("services.mjs", "export default { echo: (body) => body };");
    const call = (...args: string[]) =>
      stage.wasmq(["call", "echo", order(1), "--broker", frontend, ...args]).ended;
    const flag = ["--dictionary", dictionary];
    for (const held of [flag, []]) {
      const worker = stage.wasmq(["worker", module, "--broker", backend, ...held]);
      await worker.logged("ready");
      for (const asked of [flag, []]) {
        expect(await call(...asked)).toMatchObject({ code: 0, stdout: `${order(1)}\n` });
      }
      worker.child.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
    }
    const none = await call("--dictionary", join(stage.folder, "no"));
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining("ENOENT") });
  });
});
