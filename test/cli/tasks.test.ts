import { afterEach, beforeEach, expect, it } from "vitest";
import { Client } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { Stage } from "./processes.js";

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.clear());

const MODULE = `
export const queues = { ill: () => { throw new Error("no luck\\x9b2J"); } };
`;

it("lists and retries dead letters of a worker's queue", async () => {
  const { frontend, backend } = await stage.broker({ tasks: { backoffMsMin: 1, backoffMsMax: 2 } });
  const module = stage.file("queues.mjs", MODULE);
  const worker = stage.wasmq(["worker", module, "--broker", backend]);
  expect(await worker.logged("ready")).toMatchObject({ queues: ["ill"] });
  const env = { WASMQ_FRONTEND: frontend };
  const tasks = (...args: string[]) => stage.wasmq(["tasks", ...args], { env }).ended;
  const client = await Client.connect({ brokers: [frontend] });
  const ids = [
    await client.push("ill", 1, { attempts: 2 }),
    await client.push("ill", 2, { attempts: 1 }),
  ];
  await eventually("both are dead", async () => (await client.deadLetters("ill")).length === 2);
  const listed = await tasks("list", "ill");
  expect(listed).toMatchObject({ code: 0, stderr: "" });
  const letters = listed.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(new Set(letters.map(({ taskId }) => taskId))).toEqual(new Set(ids));
  expect(letters[0]).toMatchObject({ code: "INTERNAL", reason: "handler failed: no luck\u009b2J" });
  // In JSON what a terminal would obey is escaped.
  expect(listed.stdout.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  expect(await tasks("retry", "ill", "--count", "1")).toMatchObject({
    code: 0,
    stdout: '{"retried":1}\n',
  });
  await eventually("it is dead again", async () => (await client.deadLetters("ill")).length === 2);
  expect(await tasks("list", "none")).toMatchObject({ code: 0, stdout: "" });
  expect(await tasks("list", "a\u0001")).toMatchObject({ code: 3 });
  expect(await tasks("retry")).toMatchObject({ code: 2 });
  await client.close();
});
