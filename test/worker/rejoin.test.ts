// A request that comes again, over another connection, while its handler runs. Found by `npm run simulate --
// --seed 28`: the attempt that it supersedes was never answered, and its credit was lost for good.
import { expect, test } from "vitest";
import { Broker, type RequestContext, Worker } from "../../build/index.js";
import { Flag } from "../../build/wire/layout.js";
import { clientHello, request } from "../broker/fake-port.js";
import { RawPeer } from "../broker/processes.js";
import { eventually } from "../system/processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

async function asked(broker: Broker): Promise<RawPeer> {
  const peer = new RawPeer(broker.frontend[0]);
  await peer.say(clientHello(), request(1, { flags: Flag.RAW }));
  return peer;
}

test("the attempt that is superseded is answered too: its credit comes back", async () => {
  await using first = await Broker.start(loopback);
  await using second = await Broker.start(loopback);
  let release = (_: string) => {};
  let runs = 0;
  const handler = () => {
    runs++;
    return new Promise<string>((resolve) => {
      release = resolve;
    });
  };
  await using worker = await Worker.start({
    brokers: [...first.backend, ...second.backend],
    services: { echo: { handler, raw: true } },
  });
  await eventually("both know it", () => first.stats.workers + second.stats.workers === 2);
  const lost = await asked(first);
  await eventually("it runs", () => runs === 1);
  lost.close();
  await eventually("its client is gone", () => first.stats.clients === 0);
  const again = await asked(second);
  await eventually("it has come again", () => worker.stats.repeated === 1);
  await eventually("the first broker holds nothing", () => first.stats.requests === 0);
  release("done");
  const isReply = ({ kind }: { kind: string }) => kind === "REPLY";
  expect(await again.receive(isReply as never)).toMatchObject({ kind: "REPLY" });
  expect(runs).toBe(1);
  again.close();
});

test("a handler that was stopped since its connection was lost is run again when asked again", async () => {
  await using broker = await Broker.start(loopback);
  let runs = 0;
  let stopped = 0;
  const handler = (_: never, { signal }: RequestContext) => {
    if (++runs === 2) return "done";
    return new Promise<string>((_resolve, reject) => {
      signal.addEventListener("abort", () => {
        stopped++;
        reject(signal.reason);
      });
    });
  };
  await using _worker = await Worker.start({
    brokers: broker.backend,
    services: { echo: { handler, raw: true } },
  });
  const lost = await asked(broker);
  await eventually("it runs", () => runs === 1);
  lost.close();
  await eventually("it is told to stop", () => stopped === 1 && broker.stats.requests === 0);
  const again = await asked(broker);
  const isEnd = ({ kind }: { kind: string }) => kind === "REPLY" || kind === "FAILURE";
  expect(await again.receive(isEnd as never)).toMatchObject({ kind: "REPLY" });
  again.close();
});
