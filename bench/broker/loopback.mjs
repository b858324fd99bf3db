import { tuneEngine } from "../../build/cli/engine.js";
import { Broker } from "../../build/index.js";

/**
 * A broker on free ports of loopback, as a party offers it.
 * @template C
 * @param {(broker: Broker) => C} counts what it is asked for
 * @param {Partial<import("../../build/index.js").BrokerOptions>} [more]
 */
export async function startLoopback(counts, more) {
  // As the process of build/broker.js does, which is what a team deploys.
  tuneEngine();
  const broker = await Broker.start({
    frontend: "tcp://127.0.0.1:0",
    backend: "tcp://127.0.0.1:0",
    ...more,
  });
  return {
    frontend: broker.frontend[0],
    backend: broker.backend[0],
    counts: () => counts(broker),
    stop: () => broker.close({ timeoutMs: 500 }),
  };
}
