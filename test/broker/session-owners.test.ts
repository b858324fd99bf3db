import { describe, expect, it } from "vitest";
import { Access } from "../../build/base/access.js";
import { SessionOwners } from "../../build/broker/session-owners.js";
import { clientHello, request, Stage } from "./fake-port.js";

describe("a session", () => {
  it("is the key's that had it first, until ten minutes after it was last held", () => {
    const owners = new SessionOwners();
    expect(owners.claim(1, 2, "alice", 0)).toBe(true);
    expect(owners.claim(1, 2, "alice", 1)).toBe(true);
    expect(owners.claim(1, 2, "eve", 2)).toBe(false);
    expect(owners.claim(1, 3, "eve", 2)).toBe(true);
    owners.release(1, 2, "eve", 100_000);
    owners.release(1, 2, "alice", 0);
    // It has another connection still.
    expect(owners.claim(1, 2, "eve", 700_000)).toBe(false);
    owners.release(1, 2, "alice", 100_000);
    expect(owners.claim(1, 2, "eve", 699_999)).toBe(false);
    expect(owners.claim(1, 2, "eve", 700_001)).toBe(true);
    expect(owners.claim(1, 2, "alice", 700_002)).toBe(false);
  });

  it("is forgotten when its key has too many, the one that ended first first, and no other key's", () => {
    const owners = new SessionOwners();
    const come = (low: number, key: string) => {
      expect(owners.claim(low, 1, key, 0)).toBe(true);
      owners.release(low, 1, key, 0);
    };
    come(1_000_000, "alice");
    expect(owners.claim(2_000_000, 1, "eve", 0)).toBe(true);
    for (let low = 0; low < 4097; low++) come(low, "eve");
    expect(owners.claim(1, 1, "alice", 0)).toBe(false);
    expect(owners.claim(0, 1, "alice", 0)).toBe(true);
    expect(owners.claim(1_000_000, 1, "eve", 0)).toBe(false);
    // Of all keys together the one that ended first.
    for (let low = 0; low < 65_536; low++) come(3_000_000 + low, `key ${low >> 12}`);
    expect(owners.claim(1_000_000, 1, "eve", 0)).toBe(true);
    // One with a connection never.
    expect(owners.claim(2_000_000, 1, "alice", 0)).toBe(false);
  });

  it("is refused to another key, also when its client is gone", () => {
    const stage = new Stage();
    const of = (key: string) => new Access(key, { call: ["*"] }, () => {});
    const [alice, eve] = [of("alice"), of("eve")];
    const hello = (peer: string, access: Access) => {
      stage.ports.frontend.access = access;
      stage.send("frontend", peer, clientHello(), request(1));
      return stage.take("frontend", peer);
    };
    expect(hello("a", alice)).toMatchObject([{ kind: "WELCOME" }]);
    const refused = { kind: "ERROR", status: 7, reason: "this session is that of another key" };
    expect(hello("e", eve)[0]).toMatchObject(refused);
    stage.receive("frontend", "a", [Buffer.alloc(0)]);
    expect(hello("e2", eve)[0]).toMatchObject(refused);
    expect(hello("a2", alice)).toMatchObject([{ kind: "WELCOME" }]);
    expect(stage.exchange.faults.denied).toBe(2);
    stage.close();
  });

  it("of a plain client is nothing that WELCOME tells", () => {
    const stage = new Stage();
    const sessions = new Set<string>();
    for (const peer of ["p", "q"]) {
      stage.receive("frontend", peer, [Buffer.alloc(0), Buffer.from("x")]);
      const { sessionLow, sessionHigh } = [...stage.exchange.peers].at(-1)!;
      expect(sessionHigh).not.toBe(2);
      sessions.add(`${sessionLow}`);
    }
    const [one, other] = [...sessions].map(Number);
    expect(Math.abs(one - other)).toBeGreaterThan(1);
    stage.close();
  });
});
