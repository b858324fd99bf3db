// node client.mjs FRONTEND BODY...: asks the service `default` in raw bytes.
import { Client } from "../../../build/index.js";

const [, , frontend, ...bodies] = process.argv;
const client = await Client.connect({ brokers: [frontend] });
for (const body of bodies) {
  const reply = await client.request("default", body, { raw: true, timeoutMs: 60_000 });
  process.stdout.write(`${Buffer.from(reply)}\n`);
}
await client.close();
