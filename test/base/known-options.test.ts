import { expect, test } from "vitest";
import { knownOptions } from "../../build/base/check.js";
import { Broker, type BrokerOptions, Client, Worker } from "../../build/index.js";

const NAMES = { timeoutMs: true, attempts: true } as const;

test("an option that is none is named, and the one that was meant if it is like it", () => {
  const check = (options: object) => () =>
    knownOptions("Thing.make", options as { timeoutMs: number; attempts: number }, NAMES);
  expect(check({ timeoutMs: 1 })).not.toThrow();
  expect(check({ timeout: 1 })).toThrow(
    new TypeError('Thing.make: unknown option "timeout"; is it timeoutMs?'),
  );
  expect(check({ TimeoutMS: 1 })).toThrow(/is it timeoutMs/);
  expect(check({ colour: undefined })).toThrow(
    new TypeError('Thing.make: unknown option "colour"'),
  );
  expect(check({ toString: 1 })).toThrow(/unknown option "toString"/);
});

test.each<[string, () => Promise<unknown>, string]>([
  [
    "Client.connect",
    () => Client.connect({ brokers: ["tcp://127.0.0.1:1"], timeout: 5 } as never),
    'Client.connect: unknown option "timeout"; is it timeoutMs?',
  ],
  [
    "Client.connect, of retry",
    () => Client.connect({ brokers: ["tcp://127.0.0.1:1"], retry: { budget: 1 } } as never),
    'retry: unknown option "budget"; is it budgetRatio?',
  ],
  [
    "Worker.start",
    () => Worker.start({ broker: "tcp://127.0.0.1:1", services: {} } as never),
    'Worker.start: unknown option "broker"; is it brokers?',
  ],
  [
    "Broker.start",
    () => Broker.start({ frontends: "tcp://127.0.0.1:0" } as BrokerOptions),
    'Broker.start: unknown option "frontends"; is it frontend?',
  ],
])("%s rejects an option that is none", async (_, start, message) => {
  await expect(start()).rejects.toThrow(new TypeError(message));
});
