// Native clients and workers of each language, with keys and without: what one seals the others open.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatKey, generateKey } from "../../build/codec/index.js";
import { Broker } from "../../build/index.js";
import { sealedClients, sealedWorkers } from "./kinds.js";
import { eventually, Program } from "./program.js";

let broker: Broker;
let folder: string;
beforeAll(async () => {
  broker = await Broker.start({ frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" });
  folder = mkdtempSync(join(tmpdir(), "wasmq-sealed-"));
  writeFileSync(join(folder, "app.key"), formatKey(await generateKey()));
  writeFileSync(join(folder, "other.key"), formatKey(await generateKey()));
});
afterAll(async () => {
  await broker.close();
  rmSync(folder, { recursive: true });
});

const service = "orders.größe";
/** Small, in two alphabets; large enough to be compressed; and large, of noise, a frame of its own. */
const orders = [
  { sku: "A1", quantity: 3, note: "größe 数" },
  { sku: "B2", note: "again ".repeat(100) },
  { sku: "C3", note: randomBytes(8192).toString("hex") },
];
/** A client in C has no JSON: it is given names and values. */
const wordsOf = (order: object) =>
  Object.entries(order)
    .map(([name, value]) => `${name}=${value}`)
    .join(",");

function withKey(command: readonly string[], key: string | undefined): string[] {
  const keys = key === undefined ? [] : ["--keys", join(folder, key)];
  return [...command, ...keys, "--service", service];
}

function startClient(kind: string, key: string | undefined, some: object[]): Program {
  const bodies = some.map((order) => (kind === "C" ? wordsOf(order) : JSON.stringify(order)));
  const command = withKey(sealedClients[kind], key);
  return new Program(`client ${kind}`, [...command, broker.frontend[0], ...bodies]);
}

describe.each(["app.key", undefined])("bodies sealed under %s", (key) => {
  test.each(Object.keys(sealedWorkers))("a worker in %s opens and answers all", async (kind) => {
    await eventually("those before it are gone", () => broker.stats.workers === 0);
    const command = withKey(sealedWorkers[kind], key);
    new Program(`worker ${kind}`, [...command, broker.backend[0], kind]);
    await eventually("it is there", () => broker.stats.workers === 1);
    for (const client of Object.keys(sealedClients)) {
      const lines = (await startClient(client, key, orders).output()).trimEnd().split("\n");
      expect([client, ...lines.map((line) => JSON.parse(line))]).toEqual([
        client,
        ...orders.map((echo) => ({ worker: kind, echo })),
      ]);
    }
  });
});

test.each(Object.keys(sealedWorkers))(
  "a worker in %s refuses another key's bodies",
  async (kind) => {
    await eventually("those before it are gone", () => broker.stats.workers === 0);
    const command = withKey(sealedWorkers[kind], "app.key");
    new Program(`worker ${kind}`, [...command, broker.backend[0], kind]);
    await eventually("it is there", () => broker.stats.workers === 1);
    for (const [key, reason] of [
      ["other.key", "UNKNOWN_KEY"] as const,
      [undefined, "UNSEALED"] as const,
    ]) {
      for (const client of Object.keys(sealedClients)) {
        const program = startClient(client, key, orders.slice(0, 1));
        expect(await program.exit()).not.toBe(0);
        expect(program.stdout).toBe("");
        expect(program.stderr).toContain("UNAUTHENTICATED");
        expect(program.stderr).toContain(reason);
      }
    }
  },
);
