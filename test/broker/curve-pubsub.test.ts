// Who may publish and subscribe what, by key.
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Broker, Client, type RequestError } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { accessOf, curveOf, type KeyName, startBroker } from "./curve-keys.js";

let broker: Broker;
let clients: Client[];

beforeEach(async () => {
  clients = [];
  const grants = {
    client: { publish: ["orders.>"] },
    worker: { subscribe: ["orders.*", "stock.>"] },
  };
  ({ broker } = await startBroker({}, accessOf(grants)));
});

afterEach(async () => {
  for (const client of clients) await client.close({ timeoutMs: 0 });
  await broker.close({ timeoutMs: 0 });
});

async function connect(name: KeyName): Promise<Client> {
  const client = await Client.connect({ brokers: broker.frontend, curve: curveOf(name) });
  clients.push(client);
  return client;
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "OK",
    (error: RequestError) => error.code,
  );

it("refuses topics and patterns beyond what a key is granted, and nothing else", async () => {
  const [publisher, reader] = [await connect("client"), await connect("worker")];
  const granted = reader.subscribe("orders.eu");
  await granted.ready();
  expect(await codeOf(reader.subscribe("orders.>").ready())).toBe("PERMISSION_DENIED");
  expect(await codeOf(reader.subscribe(">").next())).toBe("PERMISSION_DENIED");
  expect(await codeOf(publisher.subscribe("orders.eu").ready())).toBe("PERMISSION_DENIED");
  const confirm = { confirm: true } as const;
  expect(await codeOf(reader.publish("orders.eu", 1, confirm))).toBe("PERMISSION_DENIED");
  expect(await codeOf(publisher.publish("stock.eu", 1, confirm))).toBe("PERMISSION_DENIED");
  expect(await publisher.publish("orders.eu", 2, confirm)).toBe(1);
  expect((await granted.next()).value).toMatchObject({ body: 2, missed: 0 });
  expect(broker.stats.faults.denied).toBe(5);
  expect(broker.stats.topics).toMatchObject({ published: 1, subscriptions: 1 });
});

it("ends the subscriptions that a key loses with a new access file, and no other", async () => {
  const [publisher, reader] = [await connect("client"), await connect("worker")];
  const [lost, kept] = [reader.subscribe("orders.*"), reader.subscribe("stock.>")];
  await Promise.all([lost.ready(), kept.ready()]);
  broker.reloadAccess(
    accessOf({ client: { publish: ["stock.a"] }, worker: { subscribe: ["stock.>"] } }),
  );
  expect(await codeOf(lost.next())).toBe("PERMISSION_DENIED");
  await publisher.publish("stock.a", "still", { confirm: true });
  expect((await kept.next()).value).toMatchObject({ body: "still" });
  await eventually("one is left", () => broker.stats.topics.subscriptions === 1);
});
