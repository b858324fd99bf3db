// node sealed-client.mjs --keys FILE --service NAME FRONTEND JSON...: asks for values.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseKey } from "../../../build/codec/index.js";
import { Client } from "../../../build/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { keys: { type: "string" }, service: { type: "string" } },
});
const [frontend, ...bodies] = positionals;
const keys = values.keys && [await parseKey(readFileSync(values.keys, "utf8"))];
const client = await Client.connect({ brokers: [frontend], keys });
const ask = (body) => client.request(values.service, JSON.parse(body), { timeoutMs: 60_000 });
for (const reply of await Promise.all(bodies.map(ask))) console.log(JSON.stringify(reply));
await client.close();
