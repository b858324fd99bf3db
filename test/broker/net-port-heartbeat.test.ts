// Who is taken for dead: by silence, by its own word, or with the pulse that stands for it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { answerPings, bytes, closed, MiB, NetStage } from "./net-port-stage.js";

let stage: NetStage;

beforeEach(() => {
  stage = new NetStage();
});

afterEach(() => stage.end());

const quick = { heartbeatIntervalMs: 60, heartbeatTimeoutMs: 200 };
const refusals = () => Object.fromEntries(stage.port.refusalCounts);

/** Whether what this peer says still comes. */
async function expectHeard({ peer, id }: { peer: Socket; id: Buffer }): Promise<void> {
  const count = stage.log.all("message").length + 1;
  peer.write(encodeMessage([bytes("still here")]));
  expect(await stage.log.nth("message", count)).toEqual([id, bytes("still here")]);
}

describe("a peer", () => {
  it("has its PING answered, its context given back, and is asked itself", async () => {
    await stage.start();
    for (const [socketType, gone] of [
      ["REP", "rep-gone"],
      ["DEALER", "gone"],
    ]) {
      const peer = stage.stranger();
      peer.write(handshakeBytes(socketType));
      let seen = "";
      const isTold = new Promise<void>((resolve) => {
        peer.on("data", (chunk) => {
          seen += chunk.toString("latin1");
          if (seen.includes("\x04\x08\x04PONGabc") && seen.includes("\x04\x07\x04PING\0\0"))
            resolve();
        });
      });
      peer.write(Buffer.from("\x04\x0a\x04PING\0\0abc", "latin1"));
      await isTold;
      // It answers nothing: gone after the heartbeat.
      await stage.log.nth(gone);
      await closed(peer);
    }
    expect(refusals()).toEqual({ silent: 2 });
  });

  it("that said how long it may be silent is held to it", async () => {
    await stage.start({ heartbeatIntervalMs: 3000, heartbeatTimeoutMs: 60_000 });
    const { peer, id } = await stage.dealer();
    peer.write(Buffer.from("\x04\x07\x04PING\0\x02", "latin1"));
    peer.resume();
    expect(await stage.log.nth("gone")).toEqual(id);
    expect(refusals()).toEqual({ silent: 1 });
  });

  it("that answers stands, and one of ZMTP 3.0 too, which knows no PING", async () => {
    await stage.start(quick);
    const old = handshakeBytes("DEALER");
    old[11] = 0;
    const ofThree0 = await stage.dealer(old);
    ofThree0.peer.resume();
    const answering = await stage.dealer();
    answerPings(answering.peer);
    // Each of these is silent for as long as it may be.
    for (let i = 1; i <= 3; i++) {
      const { id } = await stage.dealer();
      expect(await stage.log.nth("gone", i)).toEqual(id);
    }
    await expectHeard(ofThree0);
    await expectHeard(answering);
    expect(refusals()).toEqual({ silent: 3 });
  });

  it("of one thread is given longer, and no other", async () => {
    const port = await stage.start(quick);
    const patient = await stage.dealer();
    port.onOneThread(patient.id, false);
    for (let i = 1; i <= 3; i++) {
      const { id } = await stage.dealer();
      expect(await stage.log.nth("gone", i)).toEqual(id);
    }
    await expectHeard(patient);
    port.onOneThread(bytes("nobody"), false);
  });

  it("that takes nothing and says nothing is gone, an honest one beside it is not", async () => {
    const port = await stage.start(quick);
    const { id } = await stage.dealer();
    const honest = await stage.dealer();
    answerPings(honest.peer);
    port.sendOnce(id, [Buffer.alloc(64 * MiB)]);
    expect(await stage.log.nth("gone")).toEqual(id);
    await expectHeard(honest);
    expect(refusals()).toEqual({ silent: 1 });
  });

  it.each(["dealer.mjs", "rep-worker.mjs"])("in a stopped process is gone (%s)", async (name) => {
    await stage.start();
    const child = stage.process(name);
    const isRep = name === "rep-worker.mjs";
    if (isRep) (await stage.worker()).send([Buffer.alloc(8 * MiB)]);
    const [id] = isRep ? [] : await stage.log.nth<Buffer[]>("message");
    child.kill("SIGSTOP");
    if (id !== undefined) stage.port.sendOnce(id, [Buffer.alloc(64 * MiB)]);
    await stage.log.nth(isRep ? "rep-gone" : "gone");
    expect(refusals()).toEqual({ silent: 1 });
    // Both come again, as ZeroMQ does.
    child.kill("SIGCONT");
    if (isRep) await stage.worker(2);
  });
});

describe("a pulse", () => {
  it("stands for its worker, which may be silent as long as it is not", async () => {
    const port = await stage.start(quick);
    const worker = await stage.dealer();
    const pulse = await stage.dealer();
    answerPings(pulse.peer);
    expect(port.onPulse(pulse.id, worker.id)).toBe(true);
    for (let i = 1; i <= 3; i++) {
      const { id } = await stage.dealer();
      expect(await stage.log.nth("gone", i)).toEqual(id);
    }
    await expectHeard(worker);
    expect(refusals()).toEqual({ silent: 3 });
  });

  it("that is silent takes its worker with it", async () => {
    const port = await stage.start(quick);
    const worker = await stage.dealer();
    const pulse = await stage.dealer();
    // The worker's own answers are no help: nobody would know whether it is its program that gives them.
    answerPings(worker.peer);
    expect(port.onPulse(pulse.id, worker.id)).toBe(true);
    expect(await stage.log.nth("gone")).toEqual(pulse.id);
    expect(await stage.log.nth("gone", 2)).toEqual(worker.id);
    expect(refusals()).toEqual({ silent: 2 });
  });

  it("that ends otherwise leaves its worker to answer for itself", async () => {
    const port = await stage.start(quick);
    const [answering, silent] = [await stage.dealer(), await stage.dealer()];
    answerPings(answering.peer);
    for (const worker of [answering, silent]) {
      const pulse = await stage.dealer();
      answerPings(pulse.peer);
      expect(port.onPulse(pulse.id, worker.id)).toBe(true);
      const count = stage.log.all("gone").length + 1;
      pulse.peer.destroy();
      expect(await stage.log.nth("gone", count)).toEqual(pulse.id);
    }
    expect(await stage.log.nth("gone", 3)).toEqual(silent.id);
    await expectHeard(answering);
    expect(refusals()).toEqual({ silent: 1 });
  });

  it("ends with its worker", async () => {
    const port = await stage.start();
    const worker = await stage.dealer();
    const pulse = await stage.dealer();
    answerPings(pulse.peer);
    expect(port.onPulse(pulse.id, worker.id)).toBe(true);
    worker.peer.destroy();
    await closed(pulse.peer);
    expect(await stage.log.nth("gone", 2)).toEqual(pulse.id);
    expect(port.connectionCount).toBe(0);
  });

  it("takes the place of one before, which ends and takes nothing with it", async () => {
    const port = await stage.start(quick);
    const worker = await stage.dealer();
    const [first, second] = [await stage.dealer(), await stage.dealer()];
    answerPings(second.peer);
    expect(port.onPulse(first.id, worker.id)).toBe(true);
    expect(port.onPulse(second.id, worker.id)).toBe(true);
    await closed(first.peer);
    expect(await stage.log.nth("gone")).toEqual(first.id);
    const { id } = await stage.dealer();
    expect(await stage.log.nth("gone", 2)).toEqual(id);
    await expectHeard(worker);
    // Said again, it is the same.
    expect(port.onPulse(second.id, worker.id)).toBe(true);
    const { id: next } = await stage.dealer();
    expect(await stage.log.nth("gone", 3)).toEqual(next);
    await expectHeard(worker);
  });

  it("is one of one worker, that is there, and not of itself", async () => {
    const port = await stage.start(quick);
    const [worker, other, pulse] = [
      await stage.dealer(),
      await stage.dealer(),
      await stage.dealer(),
    ];
    answerPings(other.peer);
    answerPings(pulse.peer);
    expect(port.onPulse(worker.id, worker.id)).toBe(false);
    expect(port.onPulse(pulse.id, bytes("nobody"))).toBe(false);
    expect(port.onPulse(bytes("nobody"), worker.id)).toBe(false);
    expect(port.onPulse(pulse.id, worker.id)).toBe(true);
    // Else the first would be left without one, and be waited for for ever.
    expect(port.onPulse(pulse.id, other.id)).toBe(false);
    pulse.peer.destroy();
    await stage.log.nth("gone");
    expect(await stage.log.nth("gone", 2)).toEqual(worker.id);
    await expectHeard(other);
  });
});

describe("end()", () => {
  it("leaves nothing that keeps the process alive", async () => {
    const folder = mkdtempSync(join(tmpdir(), "wqn-"));
    stage.onEnd(() => rmSync(folder, { recursive: true, force: true }));
    const path = fileURLToPath(new URL("fixtures/net-port-exit.mjs", import.meta.url));
    const args = [path, `ipc://${folder}/a`];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    stage.onEnd(() => child.kill("SIGKILL"));
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    const [code] = await once(child, "exit");
    expect(output).toBe("end of script\n");
    expect(code).toBe(0);
  });
});
