// The demo's broker process: the same Broker as `node build/broker.js`, and a voice for the story.
import { Broker } from "../index.js";
import { obeyParent, tell } from "./child.js";
import { clockMs, type FromBroker, type ToBroker } from "./messages.js";

const WATCH_INTERVAL_MS = 1;

let broker: Broker | undefined;

async function onMessage(message: ToBroker): Promise<void> {
  switch (message.kind) {
    case "listen": {
      const { frontend, backend } = message;
      broker = await Broker.start({ frontend, backend });
      return tell<FromBroker>({
        kind: "listening",
        frontend: broker.frontend[0],
        backend: broker.backend[0],
      });
    }
    case "watch":
      return watch(message.workers);
    case "report": {
      const { workers, counts } = broker!.stats;
      return tell<FromBroker>({ kind: "report", workers, redelivered: counts.redelivered });
    }
    case "leave":
      return;
    default:
      message satisfies never;
  }
}

function watch(workers: number): void {
  const timer = setInterval(() => {
    if (broker!.stats.workers >= workers) return;
    clearInterval(timer);
    tell<FromBroker>({ kind: "worker-lost", atMs: clockMs() });
  }, WATCH_INTERVAL_MS);
}

obeyParent(onMessage, async (isOrphan) => broker?.close({ timeoutMs: isOrphan ? 0 : 2000 }));
// A signal to the whole group must not close it before the workers have drained.
process.on("SIGTERM", () => {});
