import { Broker } from "../../build/index.js";

/**
 * A broker on free ports of loopback, as a party offers it.
 * @template C
 * @param {(broker: Broker) => C} counts what it is asked for
 */
export async function startLoopback(counts) {
  const broker = await Broker.start({
    frontend: "tcp://127.0.0.1:0",
    backend: "tcp://127.0.0.1:0",
  });
  return {
    frontend: broker.frontend[0],
    backend: broker.backend[0],
    counts: () => counts(broker),
    stop: () => broker.close({ timeoutMs: 500 }),
  };
}
