// A broker of the chaos, with limits small enough that floods meet them. argv: { frontend, backend }.
import { Broker } from "../../../build/index.js";

const broker = await Broker.start({
  ...JSON.parse(process.argv[2]),
  limits: {
    requestsMax: 6000,
    queueCountMax: 1500,
    clientInFlightMax: 2500,
    queueWaitMsMax: 3000,
    absentWaitMs: 1500,
  },
  // What failed is over soon.
  tasks: { backoffMsMin: 50, backoffMsMax: 500 },
});
process.on("disconnect", () => process.exit(1));
process.on("SIGTERM", async () => {
  await broker.close({ timeoutMs: 3000 });
  process.exit(0);
});
process.on("message", () => {
  process.send({ holds: broker.stats.tasks });
});
process.send({ ready: true });
