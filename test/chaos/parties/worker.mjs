// A worker of the chaos. argv: { name, brokers, keys, record, taskRecord }. Before a handler does anything else it
// writes a line to the record: `<request> <attempt>`, synchronously, so that no death can hide it. Of tasks it writes
// `B <id> <attempt>` when one begins, and `D <id>` right before it is done.
import { openSync, writeSync } from "node:fs";
import { setTimeout as after } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { parseKey } from "../../../build/codec/index.js";
import { Worker } from "../../../build/index.js";
import { QUEUES } from "../queues.mjs";

const { brokers, curve, keys, record, taskRecord } = JSON.parse(process.argv[2]);
const file = openSync(record, "a");
const taskFile = openSync(taskRecord, "a");

async function work({ id, isDoomed, failCount, delayMs }, { attempt }) {
  writeSync(taskFile, `B ${id} ${attempt}\n`);
  if (delayMs > 0) await after(delayMs);
  if (isDoomed || attempt <= failCount) throw new Error("failed on purpose");
  writeSync(taskFile, `D ${id}\n`);
}

const worker = await Worker.start({
  brokers,
  curve,
  keys: keys && (await Promise.all(keys.map(parseKey))),
  concurrency: 16,
  connectTimeoutMs: 0,
  services: {
    echo: async ({ id, text, delayMs, isThrown }, { attempt }) => {
      writeSync(file, `${id} ${attempt}\n`);
      if (delayMs > 0) await after(delayMs);
      if (isThrown) throw new Error("thrown on purpose");
      return { id, text, sum: crc32(text) };
    },
    rows: async function* ({ id, count, delayMs, failAt }) {
      for (let i = 0; i < count; i++) {
        if (i === failAt) break;
        if (delayMs > 0 && i % 16 === 0) await after(delayMs);
        yield { id, i };
      }
      if (failAt >= 0) throw new Error("thrown on purpose");
      return { id, count };
    },
    census: async ({ id, delayMs, isThrown }) => {
      if (delayMs > 0) await after(delayMs);
      if (isThrown) throw new Error("thrown on purpose");
      return id;
    },
  },
  queues: Object.fromEntries(QUEUES.map((queue) => [queue, work])),
});
process.on("disconnect", () => process.exit(1));
process.on("SIGTERM", async () => {
  await worker.drain({ timeoutMs: 10_000 });
  process.exit(0);
});
process.send({ ready: true });
