// How long a client that closes waits for what it published.
import { expect, it } from "vitest";
import { Broker, Client, type RequestError } from "../../build/index.js";

it("close waits no longer than it is told, behind a publication that may wait longer", async () => {
  const any = "tcp://127.0.0.1:*";
  const broker = await Broker.start({ frontend: any, backend: any });
  const brokers = broker.frontend;
  await broker.close({ timeoutMs: 0 });
  const client = await Client.connect({ brokers, timeoutMs: 4000, connectTimeoutMs: 0 });
  const ended = client.publish("a.b", 1).catch((error: RequestError) => error.code);
  await client.close({ timeoutMs: 50 });
  // Had it waited for that one, the deadline would have been its end.
  expect(await ended).toBe("CANCELLED");
});
