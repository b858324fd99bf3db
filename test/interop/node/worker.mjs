// node worker.mjs BACKEND NAME [DELAY_MS]: answers the service `default` in raw bytes.
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "../../../build/index.js";

const [, , backend, name, delayMs = "0"] = process.argv;
await Worker.start({
  brokers: [backend],
  concurrency: 1,
  services: {
    default: {
      raw: true,
      handler: async (body) => {
        process.stdout.write(`running ${Buffer.from(body)}\n`);
        await sleep(Number(delayMs));
        return `${name} ${Buffer.from(body)}`;
      },
    },
  },
});
