// A survey: three workers are asked how they are; one answers, one cannot, one is too slow.
// Run it with `node examples/survey.mjs` after `npm run build`.
import { Broker, Client, Worker } from "wasmq";

const broker = await Broker.start({
  frontend: "tcp://127.0.0.1:0",
  backend: "tcp://127.0.0.1:0",
});
const handlers = [
  () => "well",
  () => {
    throw new Error("unwell");
  },
  (_, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", reject)),
];
const workers = await Promise.all(
  handlers.map((health) => Worker.start({ brokers: broker.backend, services: { health } })),
);
const client = await Client.connect({ brokers: broker.frontend });

const { replies, failures, asked, missing } = await client.survey("health", {}, { timeoutMs: 300 });
console.log(`asked ${asked}`);
for (const { value } of replies) console.log(`one is ${value}`);
for (const { code, reason } of failures) console.log(`one cannot say: ${code}, ${reason}`);
console.log(`did not answer: ${missing}`);

await client.close();
await Promise.all(workers.map((worker) => worker.drain()));
await broker.close();
