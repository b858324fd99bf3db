// A broker that takes less than it is asked: what waits does so in the client, where it can be given up.
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import { Client } from "../../build/index.js";
import { encodeReady } from "../../build/zmtp/encode.js";
import { encodeGreeting } from "../../build/zmtp/greeting.js";
import { message } from "../broker/fake-port.js";
import { encodeMessage } from "../zmtp/zmtp-peer.js";

const COUNT = 64;

afterEach(() => void vi.useRealTimers());

test("requests are not sent behind what a broker has not taken, and are once it has", async () => {
  let peer: Socket | undefined;
  const server = createServer((socket) => {
    peer = socket;
    const limits = { inFlightMax: 1000, recordMax: 1 << 24 };
    const welcome = message({ kind: "WELCOME", broker: "0000000000000001", ...limits });
    socket.on("error", () => {});
    socket.write(encodeGreeting("NULL"));
    socket.write(encodeReady("ROUTER"));
    socket.write(encodeMessage(welcome.map((frame) => Buffer.from(frame))));
    socket.pause();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = await Client.connect({
    brokers: [`tcp://127.0.0.1:${port}`],
    heartbeatTimeoutMs: 60_000,
  });
  const body = new Uint8Array(1 << 20);
  const askAndGiveUp = async () => {
    const abortion = new AbortController();
    const options = { raw: true, signal: abortion.signal };
    const asking = Array.from({ length: COUNT }, () => client.request("a", body, options));
    abortion.abort();
    await Promise.allSettled(asking);
    return client.stats.sent;
  };
  const sent = await askAndGiveUp();
  expect(sent).toBeLessThan(COUNT / 2);
  expect(await askAndGiveUp()).toBe(sent);
  const last = client.request("a", body, { raw: true }).catch(() => {});
  expect(client.stats.sent).toBe(sent);
  // No tick finds it: it goes when there is room.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  peer?.resume();
  while (client.stats.sent === sent) await new Promise((resolve) => setImmediate(resolve));
  await client.close({ timeoutMs: 0 });
  await last;
  peer?.destroy();
  server.close();
});
