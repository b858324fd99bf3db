// The exchange without sockets: what the vectors cannot show, since it takes several messages.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { clientHello, message, reply, request, Stage, session, workerHello } from "./fake-port.js";

let stage: Stage;

beforeEach(() => {
  stage = new Stage();
});

afterEach(() => stage.close());

/** A client "c" and a worker "w" of service echo, both welcome. */
function greet(): void {
  stage.send("frontend", "c", clientHello());
  stage.send("backend", "w", workerHello());
  expect(stage.take("frontend", "c")).toMatchObject([{ kind: "WELCOME" }]);
  expect(stage.take("backend", "w")).toMatchObject([{ kind: "WELCOME" }]);
}

function faults(): Record<string, number> {
  return Object.fromEntries(Object.entries(stage.exchange.faults).filter(([, n]) => n > 0));
}

describe("client credit", () => {
  it("goes to a client whose requests pile up, and WELCOME repeats it", () => {
    stage.close();
    stage = new Stage({ codelTargetMs: 4, queueShortCount: 1, clientCreditMin: 2 });
    greet();
    for (let sequence = 1; sequence <= 50; sequence++)
      stage.send("frontend", "c", request(sequence));
    const { core } = stage.exchange;
    const held = core.registry.services.get("echo");
    expect(held?.queue.count).toBeGreaterThan(40);
    // As if one a millisecond were answered: 4 ms of work are welcome.
    if (held !== undefined) held.ratePerMs = 1;
    core.tick(performance.now());
    stage.exchange.onTurn();
    const [told] = stage.take("frontend", "c");
    const inFlight = 50 - (held?.queue.count ?? 0);
    expect(told).toMatchObject({ kind: "CREDIT", credit: inFlight + 2 });
    stage.send("frontend", "c", clientHello());
    expect(stage.take("frontend", "c")).toMatchObject([
      { kind: "WELCOME", inFlightMax: inFlight + 2 },
    ]);
  });
});

describe("sessions", () => {
  it("welcomes again who says HELLO again, and changes nothing", () => {
    greet();
    stage.send("frontend", "c", request(1));
    stage.send("frontend", "c", clientHello());
    expect(stage.take("frontend", "c")).toMatchObject([{ kind: "WELCOME" }]);
    const [taken] = stage.take("backend", "w");
    stage.send("backend", "w", workerHello());
    expect(stage.take("backend", "w")).toMatchObject([{ kind: "WELCOME" }]);
    stage.send("backend", "w", reply(taken));
    expect(stage.take("frontend", "c")).toMatchObject([{ kind: "REPLY", sequence: "1" }]);
  });

  it("takes a HELLO with another session for another peer, the first gone", () => {
    greet();
    stage.send("frontend", "c", request(1));
    const [taken] = stage.take("backend", "w");
    stage.send("frontend", "c", clientHello("00000000000000aa"));
    expect(stage.take("frontend", "c")).toMatchObject([{ kind: "WELCOME" }]);
    expect(stage.take("backend", "w")).toMatchObject([{ kind: "CANCEL", status: 1 }]);
    stage.send("backend", "w", reply(taken));
    expect(stage.take("frontend", "c")).toEqual([]);
    expect(stage.exchange.core.clientCount).toBe(1);
    expect(stage.exchange.peers.count).toBe(2);
  });

  it("takes one HELLO a message: to come and go costs more than all else that a few bytes ask for", () => {
    greet();
    const hello = (of: number) => clientHello(of.toString(16).padStart(16, "0"));
    stage.send("frontend", "c", hello(2), { kind: "BYE" }, hello(3), hello(2), request(1));
    expect(stage.take("frontend", "c")).toMatchObject([
      { kind: "ERROR", status: 7, record: 2, reason: "one HELLO a message" },
    ]);
    expect(stage.exchange.core.clientCount).toBe(0);
    expect(faults()).toEqual({ role: 2, stranger: 1 });
    stage.send("frontend", "c", hello(3));
    expect(stage.take("frontend", "c")).toMatchObject([{ kind: "WELCOME" }]);
  });

  it("knows one that said BYE no more, and takes it on again", () => {
    greet();
    stage.send("frontend", "c", { kind: "BYE" }, request(1), clientHello(), request(2));
    expect(stage.take("frontend", "c")).toMatchObject([
      { kind: "WELCOME" },
      { kind: "ERROR", status: 16, record: 1 },
    ]);
    expect(stage.take("backend", "w")).toMatchObject([{ kind: "REQUEST", sequence: "2" }]);
  });

  it("tells a stranger once a turn that it is none", () => {
    for (let turn = 1; turn <= 2; turn++) {
      for (let i = 0; i < 100; i++) stage.receive("frontend", "s", message(request(i)));
      stage.receive("frontend", "other", message(request(1)));
      stage.receive("frontend", "s", message(request(1)));
      stage.exchange.onTurn();
      // Whoever comes between is told too.
      expect(stage.take("frontend", "s")).toHaveLength(2);
      expect(stage.take("frontend", "other")).toMatchObject([{ kind: "ERROR", status: 16 }]);
      expect(faults()).toEqual({ stranger: 102 * turn });
    }
  });

  it("does not take a plain client for a worker", () => {
    greet();
    stage.receive("frontend", "p", [Buffer.alloc(0), Buffer.from("plain")]);
    const [nothing] = stage.take("backend", "w");
    expect(nothing).toBeUndefined();
    stage.send("frontend", "p", reply(request(1)));
    expect(faults()).toEqual({ role: 1 });
    expect(stage.take("frontend", "p")).toMatchObject([{ kind: "ERROR", status: 7, record: 0 }]);
  });
});

describe("a worker's bad answer", () => {
  const cases: [string, (taken: Record<string, unknown>) => Uint8Array[]][] = [
    [
      "of headers longer than the record",
      (taken) => {
        const [bytes] = message(reply(taken as never));
        bytes[8 + 38] = 200;
        return [bytes];
      },
    ],
    [
      "of a status that is none",
      (taken) => message({ ...taken, kind: "FAILURE", status: 12, retryAfterMs: 0, reason: "" }),
    ],
    [
      "with frames that are not there",
      (taken) => message(reply(taken as never, ["a5*9000"])).slice(0, 1),
    ],
    [
      "larger than the broker takes",
      (taken) => message(reply(taken as never, ["61*6000", "62*6000"])),
    ],
  ];
  for (const [name, answer] of cases) {
    it(`${name} ends its request and frees its credit`, () => {
      stage = new Stage({ recordBytesMax: 10_000 });
      greet();
      stage.send("frontend", "c", request(1));
      const [taken] = stage.take("backend", "w");
      stage.receive("backend", "w", answer(taken));
      stage.exchange.onTurn();
      expect(stage.take("frontend", "c")).toMatchObject([
        { kind: "FAILURE", sequence: "1", status: 13 },
      ]);
      expect(stage.take("backend", "w")).toMatchObject([{ kind: "ERROR", status: 3 }]);
      expect(faults()).toEqual({ malformed: 1 });
      expect(stage.exchange.core.requests.count).toBe(0);
      expect(stage.exchange.core.worker(1)?.inFlight).toBe(0);
    });
  }

  it("for an attempt of another worker ends nothing", () => {
    greet();
    stage.send("frontend", "c", request(1));
    const [taken] = stage.take("backend", "w");
    stage.send("backend", "x", workerHello(["other"], 1, "00000000000000bb"));
    stage.take("backend", "x");
    stage.send("backend", "x", {
      ...taken,
      kind: "FAILURE",
      status: 12,
      retryAfterMs: 0,
      reason: "",
    });
    expect(stage.take("frontend", "c")).toEqual([]);
    stage.send("backend", "w", reply(taken));
    expect(stage.take("frontend", "c")).toMatchObject([{ kind: "REPLY", sequence: "1" }]);
  });
});

describe("requests", () => {
  it("are taken before and behind a malformed one in the same batch", () => {
    greet();
    stage.send("frontend", "c", request(1), request(2, { service: "" }), request(3));
    expect(stage.take("frontend", "c")).toMatchObject([
      { kind: "FAILURE", sequence: "2", status: 3 },
    ]);
    const taken = stage.take("backend", "w");
    expect(taken).toMatchObject([{ sequence: "1" }, { sequence: "3" }]);
    stage.send("backend", "w", ...taken.map((each) => reply(each)));
    expect(stage.take("frontend", "c").map(({ sequence }) => sequence)).toEqual(["1", "3"]);
  });

  it("with the longest deadline on the wire get the longest that the broker allows", () => {
    stage = new Stage({ timeoutMsMax: 20_000 });
    greet();
    stage.send(
      "frontend",
      "c",
      request(1, { timeoutMs: 0xffffffff }),
      request(2, { timeoutMs: 0 }),
    );
    const taken = stage.take("backend", "w");
    expect(taken).toMatchObject([{ timeoutMs: 20_000 }, { timeoutMs: 20_000 }]);
  });

  it("of many frames count for what these cost, native and plain alike", () => {
    stage.send("frontend", "c", clientHello());
    stage.send("frontend", "c", request(1, { body: Array(255).fill("") }));
    expect(stage.exchange.core.requests.bytesHeld).toBeGreaterThan(254 * 512);
    const empty = Buffer.alloc(0);
    stage.receive("frontend", "p", Array(256).fill(empty));
    expect(stage.exchange.core.requests.bytesHeld).toBeGreaterThan(2 * 254 * 512);
    // One frame, as large bodies have, counts for its bytes.
    stage.send("frontend", "c", { kind: "BYE" });
    stage.receive("frontend", "p", [empty]);
    stage.send("frontend", "c", clientHello(), request(1, { body: ["61*9000"] }));
    expect(stage.exchange.core.requests.bytesHeld).toBe(40 + 4 + 9000);
  });

  it("of a plain client that is gone leave nothing behind but the worker's attempt", () => {
    stage.send("backend", "w", workerHello(["default"]));
    stage.receive("frontend", "p", [Buffer.alloc(0), Buffer.from("plain")]);
    stage.exchange.onTurn();
    const [, taken] = stage.take("backend", "w");
    stage.receive("frontend", "p", [Buffer.alloc(0)]);
    stage.exchange.onTurn();
    expect(stage.take("backend", "w")).toMatchObject([{ kind: "CANCEL", status: 1 }]);
    expect(stage.exchange.core.clientCount).toBe(0);
    expect(stage.exchange.core.requests.bytesHeld).toBe(0);
    stage.send("backend", "w", reply(taken));
    expect(stage.exchange.core.requests.count).toBe(0);
    expect(stage.takeMessages("frontend", "p")).toEqual([]);
  });

  it("that went to a worker which is gone go to the next as they were", () => {
    greet();
    const body = ["61*9000"];
    const headers = [["k", "Ποιος 誰"]];
    stage.send("frontend", "c", request(1, { headers }), request(2, { body, headers }));
    stage.take("backend", "w");
    stage.receive("backend", "w", [Buffer.alloc(0)]);
    stage.exchange.onTurn();
    stage.send("backend", "v", workerHello());
    const [, ...taken] = stage.take("backend", "v");
    expect(taken).toMatchObject([
      { sequence: "1", session, headers, body: ["abcd"], attempts: 2, flags: 2 },
      { sequence: "2", session, headers, body, attempts: 2, flags: 2 },
    ]);
  });
});

describe("shutdown", () => {
  it("ends when what it holds is answered and the clients have left", async () => {
    greet();
    stage.send("frontend", "c", request(1));
    const [taken] = stage.take("backend", "w");
    let isEmpty: boolean | undefined;
    const shutdown = stage.exchange.shutdown(3_600_000).then((result) => {
      isEmpty = result;
    });
    expect(stage.take("frontend", "c")).toEqual([{ kind: "DRAIN" }]);
    expect(stage.take("backend", "w")).toEqual([{ kind: "DRAIN" }]);
    // Sent before DRAIN was read.
    stage.send("frontend", "c", request(2));
    expect(stage.take("frontend", "c")).toMatchObject([
      { kind: "FAILURE", sequence: "2", status: 14, flags: 4, attempts: 0 },
    ]);
    stage.send("backend", "w", reply(taken));
    expect(stage.take("frontend", "c")).toMatchObject([{ kind: "REPLY", sequence: "1" }]);
    await new Promise((resolve) => setImmediate(resolve));
    stage.send("frontend", "c", request(3));
    expect(stage.take("frontend", "c")).toMatchObject([{ kind: "FAILURE", sequence: "3" }]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(isEmpty).toBeUndefined();
    stage.send("frontend", "c", { kind: "BYE" });
    await shutdown;
    expect(isEmpty).toBe(true);
  });

  it("takes on no client any more, but workers for what it holds", async () => {
    stage.send("frontend", "c", clientHello(), request(1));
    stage.take("frontend", "c");
    const shutdown = stage.exchange.shutdown(3_600_000);
    stage.send("frontend", "new", clientHello("00000000000000aa"), request(1));
    expect(stage.take("frontend", "new")).toMatchObject([
      { kind: "ERROR", status: 14, reason: "broker is shutting down", record: 0 },
    ]);
    stage.send("backend", "w", workerHello());
    const [, taken] = stage.take("backend", "w");
    stage.send("backend", "w", reply(taken));
    stage.send("frontend", "c", { kind: "BYE" });
    expect(await shutdown).toBe(true);
    expect(stage.exchange.core.clientCount).toBe(0);
  });

  it("does not wait for long for clients that do not leave, nor at all when told so", async () => {
    greet();
    expect(await stage.exchange.shutdown(0)).toBe(true);
    expect(await stage.exchange.shutdown(3_600_000)).toBe(true);
    stage.send("frontend", "d", clientHello("00000000000000aa"), request(1));
    expect(stage.exchange.core.clientCount).toBe(1);
  });
});
