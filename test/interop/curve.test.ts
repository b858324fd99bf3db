// The native clients and workers in C and Python under CURVE: with a key of the access file, with one
// that is not in it, and with none.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { curveKeyPair } from "zeromq";
import { Broker } from "../../build/index.js";
import { clients, workers } from "./kinds.js";
import { eventually, Program } from "./program.js";

const kinds = ["C native", "Python native"];
const [server, client, worker, stranger] = [0, 0, 0, 0].map(curveKeyPair);

let broker: Broker;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "wasmq-curve-"));
  const access = join(folder, "access.json");
  const keys = {
    [client.publicKey]: { name: "client", call: ["default"] },
    [worker.publicKey]: { name: "worker", serve: ["default"] },
  };
  writeFileSync(access, JSON.stringify({ keys }));
  broker = await Broker.start({
    frontend: "tcp://127.0.0.1:0",
    backend: "tcp://127.0.0.1:0",
    curve: { ...server, access },
  });
});
afterAll(async () => {
  await broker.close();
  rmSync(folder, { recursive: true });
});

const environmentOf = ({ publicKey, secretKey }: typeof client) => ({
  WASMQ_CURVE_PUBLIC_KEY: publicKey,
  WASMQ_CURVE_SECRET_KEY: secretKey,
  WASMQ_CURVE_SERVER_KEY: server.publicKey,
});

describe.each(kinds)("a worker in %s", (kind) => {
  test("answers clients of each kind, and nobody uninvited", async () => {
    await eventually("those before it are gone", () => broker.stats.workers === 0);
    const command = [...workers[kind], broker.backend[0], "w"];
    new Program(`worker ${kind}`, command, environmentOf(worker));
    await eventually("it is there", () => broker.stats.workers === 1);
    for (const each of kinds) {
      const asked = [...clients[each], broker.frontend[0], "one", "two"];
      const invited = new Program(`client ${each}`, asked, environmentOf(client));
      expect(await invited.output()).toBe("w one\nw two\n");
      const { clients: clientCount } = broker.stats;
      const before = broker.stats.counts.requests;
      const others = [environmentOf(stranger), {}].map(
        (environment) =>
          new Program(
            `stranger ${each}`,
            [
              ...clients[each],
              "--timeout",
              each.startsWith("C") ? "1000" : "1",
              broker.frontend[0],
              "x",
            ],
            environment,
          ),
      );
      for (const other of others) {
        expect(await other.exit()).not.toBe(0);
        expect(other.stdout).toBe("");
      }
      expect(broker.stats.counts.requests).toBe(before);
      expect(broker.stats.clients).toBeLessThanOrEqual(clientCount);
    }
  });
});

test("a worker's key does not call", async () => {
  await eventually("those before it are gone", () => broker.stats.workers === 0);
  for (const kind of kinds) {
    const asked = [...clients[kind], broker.frontend[0], "x"];
    const program = new Program(`client ${kind}`, asked, environmentOf(worker));
    expect(await program.exit()).not.toBe(0);
    expect(program.stderr).toContain("PERMISSION_DENIED");
  }
});
