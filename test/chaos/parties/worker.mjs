// A worker of the chaos. argv: { name, brokers, keys, record }. Before a handler does anything else it
// writes a line to the record: `<request> <attempt>`, synchronously, so that no death can hide it.
import { openSync, writeSync } from "node:fs";
import { setTimeout as after } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { parseKey } from "../../../build/codec/index.js";
import { Worker } from "../../../build/index.js";

const { brokers, keys, record } = JSON.parse(process.argv[2]);
const file = openSync(record, "a");
const worker = await Worker.start({
  brokers,
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
  },
});
process.on("disconnect", () => process.exit(1));
process.on("SIGTERM", async () => {
  await worker.drain({ timeoutMs: 10_000 });
  process.exit(0);
});
process.send({ ready: true });
