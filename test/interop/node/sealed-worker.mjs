// node sealed-worker.mjs --keys FILE --service NAME BACKEND NAME: answers values.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseKey } from "../../../build/codec/index.js";
import { Worker } from "../../../build/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { keys: { type: "string" }, service: { type: "string" } },
});
const [backend, name] = positionals;
const keys = values.keys && [await parseKey(readFileSync(values.keys, "utf8"))];
const services = { [values.service]: (value) => ({ worker: name, echo: value }) };
await Worker.start({ brokers: [backend], keys, services });
