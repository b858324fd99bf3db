// A handler that yields, a reader that takes its time, and one that has seen enough.
// node examples/streams.mjs, in a project with wasmq; docs/streams.md says more.
import { setTimeout as after } from "node:timers/promises";
import { Broker, Client, Worker } from "wasmq";
import { generateKey } from "wasmq/codec";

const keys = [await generateKey()];
const broker = await Broker.start({ frontend: "tcp://127.0.0.1:*", backend: "tcp://127.0.0.1:*" });
let made = 0;
const primes = async function* ({ below }) {
  try {
    for (let n = 2; n < below; n++) {
      if (!isPrime(n)) continue;
      made++;
      yield n;
    }
  } finally {
    console.log(`the handler stops after ${made} primes`);
  }
};
const worker = await Worker.start({ brokers: broker.backend, keys, services: { primes } });
const client = await Client.connect({ brokers: broker.frontend, keys });

const below30 = [];
for await (const prime of client.stream("primes", { below: 30 })) below30.push(prime);
console.log(`all below 30: ${below30.join(" ")}`);

console.log("a slow reader, 4 at a time, who leaves at 20:");
made = 0;
const stream = client.stream("primes", { below: 1e9 }, { window: 4 });
for await (const prime of stream) {
  await after(20);
  if (prime > 20) break;
  console.log(`${prime}; the handler is ${made > 12 ? "far" : "not far"} ahead`);
}

await client.close();
await worker.drain();
await broker.close();

function isPrime(n) {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
}
