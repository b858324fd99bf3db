// Majordomo peers at an exchange without sockets, frame by frame; test/system/majordomo.test.ts has
// sockets and programs that do as the Guide's do.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AccessTable, type Denial } from "../../build/base/access.js";
import type { Side } from "../../build/broker/exchange.js";
import { clientHello, reply, request, Stage, workerHello } from "./fake-port.js";
import * as shared from "./majordomo-stage.js";
import { frames, got, hex, type Part } from "./majordomo-stage.js";

const times = { heartbeatMs: 100, liveness: 3, busyLiveness: 0 };
let stage: Stage;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  stage = new Stage({}, times);
});

afterEach(() => {
  stage.close();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const say = (side: Side, peer: string, ...parts: Part[]) => shared.say(stage, side, peer, ...parts);

/** The ROUTER's notice of its end. */
function leave(side: "frontend" | "backend", peer: string): void {
  say(side, peer, "");
}

const client = (peer: string, ...parts: Part[]) => say("frontend", peer, ...parts);
const worker = (peer: string, ...parts: Part[]) => say("backend", peer, ...parts);

const toClient = (peer: string) => got(stage, "frontend", peer);
const toWorker = (peer: string) => got(stage, "backend", peer);

const taken = (peer: string) => shared.taken(stage, peer);

function faults(): Record<string, number> {
  return Object.fromEntries(Object.entries(stage.exchange.faults).filter(([, n]) => n > 0));
}

const ready = (peer: string, service = "echo") => worker(peer, "", "MDPW01", 1, service);
const stale = () => stage.exchange.core.counts.stale;

describe("version 0.1", () => {
  it("takes a request to a worker of its service and the reply back, frame by frame", () => {
    ready("w");
    client("c", "", "MDPC01", "echo", "one", "two");
    const { address, message } = taken("w");
    expect(message).toEqual(["", "MDPW01", "\x02", address.toString("latin1"), "", "one", "two"]);
    expect(address).toHaveLength(8);
    worker("w", "", "MDPW01", 3, address, "", "three", "", "four");
    expect(toClient("c")).toEqual([["", "MDPC01", "echo", "three", "", "four"]]);
    expect(faults()).toEqual({});
  });

  it("hands a worker one request at a time", () => {
    ready("w");
    client("c", "", "MDPC01", "echo", "1");
    client("d", "", "MDPC01", "echo", "2");
    const first = taken("w");
    worker("w", "", "MDPW01", 3, first.address, "", "a");
    const second = taken("w");
    expect(second.message.at(-1)).toBe("2");
    expect(second.address).not.toEqual(first.address);
    worker("w", "", "MDPW01", 3, second.address, "", "b");
    expect(toClient("c")).toEqual([["", "MDPC01", "echo", "a"]]);
    expect(toClient("d")).toEqual([["", "MDPC01", "echo", "b"]]);
  });

  it("gives a dead worker's request to another, and drops what the dead one says later", () => {
    ready("v");
    client("c", "", "MDPC01", "echo", "x");
    const { address } = taken("v");
    ready("w");
    leave("backend", "v");
    const again = taken("w");
    // It lives after all, behind a new connection: it is to begin anew.
    worker("v", "", "MDPW01", 3, address, "", "late");
    expect(toWorker("v")).toEqual([["", "MDPW01", "\x05"]]);
    worker("w", "", "MDPW01", 3, again.address, "", "good");
    expect(toClient("c")).toEqual([["", "MDPC01", "echo", "good"]]);
    expect(faults()).toEqual({ stranger: 1 });
    expect(stage.exchange.core.counts.redelivered).toBe(1);
  });

  it("takes DISCONNECT for the worker's end", () => {
    ready("v");
    ready("w");
    client("c", "", "MDPC01", "echo", "x");
    const first = toWorker("v").length === 1 ? "v" : "w";
    const other = first === "v" ? "w" : "v";
    stage.takeMessages("backend", other);
    worker(first, "", "MDPW01", 5);
    expect(taken(other).message.at(-1)).toBe("x");
    expect(toWorker(first)).toEqual([]);
    expect(stage.exchange.core.workerCount).toBe(1);
  });

  it("drops stale and forged replies, and counts them", () => {
    ready("w");
    ready("thief");
    client("c", "", "MDPC01", "echo", "x");
    const holder = toWorker("w").length === 1 ? "w" : "thief";
    const other = holder === "w" ? "thief" : "w";
    const [slot, generation] = [0, 1];
    const address = Buffer.alloc(8);
    address.writeUInt32LE(slot, 0);
    address.writeUInt32LE(generation, 4);
    worker(other, "", "MDPW01", 3, address, "", "stolen");
    worker(holder, "", "MDPW01", 3, "", "", "of no attempt");
    worker(holder, "", "MDPW01", 3, Buffer.alloc(8), "", "of another generation");
    expect(stale()).toBe(3);
    expect(toClient("c")).toEqual([]);
    worker(holder, "", "MDPW01", 3, address, "", "true");
    worker(holder, "", "MDPW01", 3, address, "", "twice");
    expect(toClient("c")).toEqual([["", "MDPC01", "echo", "true"]]);
    expect(stale()).toBe(4);
    // Nobody is thrown out for it.
    expect(stage.exchange.core.workerCount).toBe(2);
  });
});

describe("version 0.2", () => {
  it.each([
    ["without the empty frame, as its specification has it", []],
    ["with the empty frame, as many programs have it", [""]],
  ])("%s", (_name, before) => {
    worker("w", ...before, "MDPW02", 1, "echo");
    client("c", ...before, "MDPC02", 1, "echo", "x");
    const { address, message } = taken("w");
    const at = address.toString("latin1");
    expect(message).toEqual([...before, "MDPW02", "\x02", at, "", "x"]);
    worker("w", ...before, "MDPW02", 3, address, "", "one");
    worker("w", ...before, "MDPW02", 3, address, "", "two", "three");
    worker("w", ...before, "MDPW02", 4, address, "", "end");
    expect(toClient("c")).toEqual([
      [...before, "MDPC02", "\x02", "echo", "one"],
      [...before, "MDPC02", "\x02", "echo", "two", "three"],
      [...before, "MDPC02", "\x03", "echo", "end"],
    ]);
    expect(faults()).toEqual({});
  });

  it("gathers the parts for those who take a reply in one piece", () => {
    worker("w", "MDPW02", 1, "default");
    const answer = () => {
      const { address } = taken("w");
      worker("w", "MDPW02", 3, address, "", "one", "two");
      worker("w", "MDPW02", 3, address, "", "three");
      worker("w", "MDPW02", 4, address, "", "end");
    };
    client("old", "", "MDPC01", "default", "x");
    answer();
    expect(toClient("old")).toEqual([["", "MDPC01", "default", "one", "two", "three", "end"]]);
    client("req", "", "x");
    answer();
    expect(toClient("req")).toEqual([["", "one", "two", "three", "end"]]);
    stage.send("frontend", "n", clientHello());
    stage.take("frontend", "n");
    stage.send("frontend", "n", request(1, { service: "default" }));
    answer();
    expect(stage.take("frontend", "n")).toMatchObject([
      { kind: "REPLY", flags: 1, body: ["one", "two", "three", "end"].map(hex) },
    ]);
    // What was gathered is not there for the next.
    client("req", "", "x");
    worker("w", "MDPW02", 4, taken("w").address, "", "alone");
    expect(toClient("req")).toEqual([["", "alone"]]);
  });

  it("forgets what was gathered for one that has gone", () => {
    worker("w", "MDPW02", 1, "default");
    client("req", "", "x");
    const { address } = taken("w");
    worker("w", "MDPW02", 3, address, "", "one");
    leave("frontend", "req");
    worker("w", "MDPW02", 3, address, "", "two");
    worker("w", "MDPW02", 4, address, "", "end");
    expect(stale()).toBe(0);
    client("other", "", "y");
    worker("w", "MDPW02", 4, taken("w").address, "", "its own");
    expect(toClient("other")).toEqual([["", "its own"]]);
  });

  it("ends a gathered reply that grows too large, and takes the worker's next", () => {
    stage.close();
    stage = new Stage({ recordBytesMax: 1000 }, times);
    worker("w", "MDPW02", 1, "default");
    client("req", "", "x");
    const { address } = taken("w");
    for (let i = 0; i < 3; i++) worker("w", "MDPW02", 3, address, "", Buffer.alloc(400));
    expect(toClient("req")).toMatchObject([
      ["", "", "INTERNAL", expect.stringContaining("larger")],
    ]);
    worker("w", "MDPW02", 4, address, "", "end");
    expect(stale()).toBe(1);
    client("req", "", "y");
    worker("w", "MDPW02", 4, taken("w").address, "", "fine");
    expect(toClient("req")).toEqual([["", "fine"]]);
  });

  it.each([
    ["gathered for 0.1", ["", "MDPC01"]],
    ["passed on to 0.2", ["MDPC02", 1]],
  ])("ends a reply one of whose parts has too many frames, %s", (_name, asks) => {
    worker("w", "MDPW02", 1, "echo");
    client("c", ...asks, "echo", "x");
    const { address } = taken("w");
    const part = frames("MDPW02", 3, address, "").concat(Array(200_000).fill(Buffer.alloc(0)));
    stage.receive("backend", "w", part);
    stage.exchange.onTurn();
    expect(toClient("c")).toEqual([]);
    expect(stage.exchange.majordomo.unanswered).toBe(1);
    expect(faults()).toEqual({ malformed: 1 });
    client("c", ...asks, "echo", "y");
    worker("w", "MDPW02", 4, taken("w").address, "", "fine");
    expect(toClient("c").map((message) => message.at(-1))).toEqual(["fine"]);
  });

  it("ends a gathered reply of too many frames in all", () => {
    worker("w", "MDPW02", 1, "default");
    const answer = (count: number) => {
      client("req", "", "x");
      const { address } = taken("w");
      const part = Array<string>(count).fill("");
      for (let i = 0; i < 2; i++) worker("w", "MDPW02", 3, address, "", ...part);
      worker("w", "MDPW02", 4, address, "", "end");
      return toClient("req");
    };
    expect(answer(128)).toMatchObject([["", "", "INTERNAL", expect.stringContaining("larger")]]);
    expect(answer(127)).toEqual([["", ...Array<string>(254).fill(""), "end"]]);
  });

  it("bounds what is gathered of all workers, and takes more when some of it has gone", () => {
    stage.close();
    const limits = { recordBytesMax: 10_000, queueBytesMax: 10_000, requestBytesMax: 20_000 };
    stage = new Stage(limits, times);
    const part = Buffer.alloc(8000);
    const names = ["a", "b", "c"];
    for (const name of names) worker(name, "MDPW02", 1, name);
    const ask = (name: string) => {
      client(`of ${name}`, "", "MDPC01", name, "x");
      return taken(name).address;
    };
    const [a, b, c] = names.map(ask);
    worker("a", "MDPW02", 3, a, "", part);
    worker("b", "MDPW02", 3, b, "", part);
    // No room: its request has failed, and the worker is free for another.
    worker("c", "MDPW02", 3, c, "", part);
    expect(stage.exchange.majordomo.unanswered).toBe(1);
    expect(faults()).toEqual({});
    let next = ask("c");
    // Each way that what was gathered ends makes room: a reply, a client's end, a worker's.
    worker("a", "MDPW02", 4, a, "", "end");
    expect(toClient("of a").map((message) => message.length)).toEqual([5]);
    worker("c", "MDPW02", 3, next, "", part);
    worker("c", "MDPW02", 4, next, "", "end");
    next = ask("c");
    leave("frontend", "of b");
    worker("c", "MDPW02", 3, next, "", part);
    worker("a", "MDPW02", 3, ask("a"), "", part);
    leave("backend", "a");
    worker("b", "MDPW02", 4, b, "", "late");
    worker("b", "MDPW02", 3, ask("b"), "", part);
    worker("c", "MDPW02", 4, next, "", "end");
    expect(toClient("of c").map((message) => message.length)).toEqual([5, 5]);
    expect(stage.exchange.majordomo.unanswered).toBe(1);
  });

  it("tells a client that can be told that there is no room for the parts of its reply", () => {
    stage.close();
    const limits = { recordBytesMax: 10_000, queueBytesMax: 10_000, requestBytesMax: 10_000 };
    stage = new Stage(limits, times);
    worker("v", "MDPW02", 1, "other");
    client("c", "", "MDPC01", "other", "x");
    worker("v", "MDPW02", 3, taken("v").address, "", Buffer.alloc(9000));
    worker("w", "MDPW02", 1, "default");
    client("req", "", "x");
    worker("w", "MDPW02", 3, taken("w").address, "", Buffer.alloc(9000));
    expect(toClient("req")).toMatchObject([
      ["", "", "RESOURCE_EXHAUSTED", expect.stringContaining("parts")],
    ]);
  });

  it("lets no other worker begin anew once a part was passed on", () => {
    worker("v", "MDPW02", 1, "echo");
    client("c", "MDPC02", 1, "echo", "x");
    worker("v", "MDPW02", 3, taken("v").address, "", "one");
    worker("w", "MDPW02", 1, "echo");
    leave("backend", "v");
    expect(toWorker("w")).toEqual([]);
    expect(toClient("c")).toEqual([["MDPC02", "\x02", "echo", "one"]]);
    expect(stage.exchange.majordomo.unanswered).toBe(1);
    // Nothing was passed on: another may have it.
    client("c", "MDPC02", 1, "echo", "y");
    const { address } = taken("w");
    worker("u", "MDPW02", 1, "echo");
    leave("backend", "w");
    worker("w", "MDPW02", 3, address, "", "late");
    worker("u", "MDPW02", 4, taken("u").address, "", "whole");
    expect(toClient("c")).toEqual([["MDPC02", "\x03", "echo", "whole"]]);
  });
});

describe("with others", () => {
  it("asks native workers and answers native clients, raw", () => {
    stage.send("backend", "n", workerHello(["echo"]));
    stage.take("backend", "n");
    client("c", "", "MDPC01", "echo", "abcd");
    const [asked] = stage.take("backend", "n");
    expect(asked).toMatchObject({
      kind: "REQUEST",
      flags: 1,
      service: "echo",
      body: [hex("abcd")],
    });
    stage.send("backend", "n", reply(asked, [hex("wxyz")]));
    expect(toClient("c")).toEqual([["", "MDPC01", "echo", "wxyz"]]);

    ready("w", "other");
    stage.send("frontend", "k", clientHello());
    stage.take("frontend", "k");
    stage.send("frontend", "k", request(7, { service: "other", flags: 1, body: [hex("q")] }));
    const { address, message } = taken("w");
    expect(message.slice(5)).toEqual(["q"]);
    worker("w", "", "MDPW01", 3, address, "", "r");
    expect(stage.take("frontend", "k")).toMatchObject([
      { kind: "REPLY", sequence: "7", flags: 1, body: [hex("r")] },
    ]);
  });

  it("knows a REQ that was plain before for plain, whatever its body begins with", () => {
    ready("w", "default");
    client("p", "", "hello");
    worker("w", "", "MDPW01", 3, taken("w").address, "", "a");
    client("p", "", "MDPC01", "echo", "x");
    const { address, message } = taken("w");
    expect(message.slice(5)).toEqual(["MDPC01", "echo", "x"]);
    worker("w", "", "MDPW01", 3, address, "", "b");
    expect(toClient("p")).toEqual([
      ["", "a"],
      ["", "b"],
    ]);
  });
});

describe("service discovery", () => {
  it("answers 200 for a service of any worker, 404 for another, 501 for what it does not know", () => {
    const ask = (service: string, ...body: Part[]) => {
      client("c", "", "MDPC01", service, ...body);
      return toClient("c");
    };
    expect(ask("mmi.service", "echo")).toEqual([["", "MDPC01", "mmi.service", "404"]]);
    ready("w");
    stage.send("backend", "n", workerHello(["native"]));
    expect(ask("mmi.service", "echo")).toEqual([["", "MDPC01", "mmi.service", "200"]]);
    expect(ask("mmi.service", "native")).toEqual([["", "MDPC01", "mmi.service", "200"]]);
    expect(ask("mmi.service", "")).toEqual([["", "MDPC01", "mmi.service", "404"]]);
    expect(ask("mmi.other", "echo")).toEqual([["", "MDPC01", "mmi.other", "501"]]);
    leave("backend", "w");
    expect(ask("mmi.service", "echo")).toEqual([["", "MDPC01", "mmi.service", "404"]]);
    client("d", "MDPC02", 1, "mmi.service", "native");
    expect(toClient("d")).toEqual([["MDPC02", "\x03", "mmi.service", "200"]]);
    // Asked in vain, no name is remembered.
    expect([...stage.exchange.core.registry.services.keys()].sort()).toEqual(["echo", "native"]);
  });

  it("sends away a worker that would serve its names", () => {
    ready("w", "mmi.service");
    expect(toWorker("w")).toEqual([["", "MDPW01", "\x05"]]);
    expect(stage.exchange.core.workerCount).toBe(0);
    expect(faults()).toEqual({ role: 1 });
  });
});

describe("what may not be said", () => {
  it("a second READY: the worker is sent away, its request goes to another", () => {
    ready("v");
    client("c", "", "MDPC01", "echo", "x");
    taken("v");
    ready("w");
    ready("v");
    expect(toWorker("v")).toEqual([["", "MDPW01", "\x05"]]);
    expect(taken("w").message.at(-1)).toBe("x");
    expect(faults()).toEqual({ role: 1 });
  });

  it("a reply that cannot be read: the same", () => {
    ready("v");
    client("c", "", "MDPC01", "echo", "x");
    const { address } = taken("v");
    ready("w");
    worker("v", "", "MDPW01", 3, address, "no empty frame");
    expect(toWorker("v")).toEqual([["", "MDPW01", "\x05"]]);
    expect(taken("w").message.at(-1)).toBe("x");
    expect(faults()).toEqual({ malformed: 1 });
  });

  it("anything but READY from a stranger: DISCONNECT, in its own version", () => {
    worker("a", "", "MDPW01", 4);
    worker("b", "MDPW02", 5);
    worker("c", "MDPW02", 3, "addr", "", "x");
    expect(toWorker("a")).toEqual([["", "MDPW01", "\x05"]]);
    expect(toWorker("b")).toEqual([["MDPW02", "\x06"]]);
    expect(toWorker("c")).toEqual([["MDPW02", "\x06"]]);
    worker("d", "", "MDPW01", 5);
    expect(toWorker("d")).toEqual([]);
    expect(faults()).toEqual({ stranger: 3 });
    expect(stage.exchange.peers.count).toBe(0);
  });

  it("messages that are none, names that are none, at the wrong port: dropped and counted", () => {
    client("a", "", "MDPC01");
    client("b", "MDPC02", 9, "echo", "x");
    client("c", "", "MDPC01", "a\nb", "x");
    worker("d", "", "MDPW01", 9);
    worker("e", "", "MDPW01", 1, "");
    expect(faults()).toEqual({ malformed: 5 });
    client("f", "", "MDPW01", 1, "echo");
    worker("g", "", "MDPC01", "echo", "x");
    expect(faults()).toEqual({ malformed: 5, role: 2 });
    for (const peer of "abcf") expect(toClient(peer)).toEqual([]);
    for (const peer of "deg") expect(toWorker(peer)).toEqual([]);
    expect(stage.exchange.peers.count).toBe(0);
    // A known client that speaks in another way is not heard.
    client("h", "", "MDPC01", "mmi.service", "x");
    client("h", "MDPC02", 1, "mmi.service", "x");
    expect(toClient("h")).toHaveLength(1);
    expect(faults()).toEqual({ malformed: 5, role: 3 });
  });

  it("from one that said HELLO: told so", () => {
    stage.send("frontend", "n", clientHello());
    stage.send("backend", "m", workerHello(["echo"]));
    stage.take("frontend", "n");
    stage.take("backend", "m");
    client("n", "MDPC02", 1, "echo", "x");
    worker("m", "", "MDPW01", 4);
    const error = { kind: "ERROR", status: 7, record: 0xffffffff };
    expect(stage.take("frontend", "n")).toMatchObject([error]);
    expect(stage.take("backend", "m")).toMatchObject([error]);
    expect(faults()).toEqual({ role: 2 });
  });

  it("a body too large: dropped from a client; from a worker a failure of its request", () => {
    stage.close();
    stage = new Stage({ recordBytesMax: 1000 }, times);
    ready("w", "default");
    client("c", "", "MDPC01", "default", Buffer.alloc(1001));
    client("c", "", "MDPC01", "default", ...Array<string>(256).fill("a"));
    expect(stage.exchange.peers.count).toBe(1);
    client("req", "", "x");
    worker("w", "", "MDPW01", 3, taken("w").address, "", Buffer.alloc(1001));
    expect(toClient("req")).toMatchObject([
      ["", "", "INTERNAL", expect.stringContaining("larger")],
    ]);
    expect(faults()).toEqual({ malformed: 3 });
    client("req", "", "y");
    expect(taken("w").message.at(-1)).toBe("y");
  });
});

describe("failures", () => {
  it("are silence, and counted", () => {
    stage.close();
    stage = new Stage({ absentWaitMs: 50 }, times);
    client("c", "", "MDPC01", "nobody", "x");
    vi.advanceTimersByTime(100);
    expect(toClient("c")).toEqual([]);
    expect(stage.exchange.majordomo.unanswered).toBe(1);
    expect(stage.exchange.core.requests.count).toBe(0);
  });

  it("of a client that has gone: its request is dropped, the worker's answer too", () => {
    ready("w");
    client("c", "", "MDPC01", "echo", "x");
    const { address } = taken("w");
    leave("frontend", "c");
    worker("w", "", "MDPW01", 3, address, "", "late");
    expect(toClient("c")).toEqual([]);
    client("d", "", "MDPC01", "echo", "y");
    expect(taken("w").message.at(-1)).toBe("y");
  });
});

describe("many requests at once", () => {
  /** Has "w" answer all that it is handed; how many. */
  function answerAll(): number {
    stage.exchange.onTurn();
    for (let count = 0; ; count++) {
      const messages = toWorker("w").filter((message) => message[2] === "\x02");
      expect(messages.length).toBeLessThan(2);
      if (messages.length === 0) return count;
      for (const message of messages) {
        const [, , , address, , body] = message;
        worker("w", "", "MDPW01", 3, Buffer.from(address, "latin1"), "", body);
      }
    }
  }

  it("wait for their turn, in order, and all of them are answered", () => {
    ready("w");
    const count = 5000;
    for (let i = 0; i < count; i++) {
      stage.receive("frontend", "c", frames("", "MDPC01", "echo", String(i)));
    }
    const { core } = stage.exchange;
    expect(core.requests.count).toBe(64);
    expect(answerAll()).toBe(count);
    expect(toClient("c").map((message) => message[3])).toEqual(
      Array.from({ length: count }, (_, i) => String(i)),
    );
    expect(stage.exchange.majordomo.unanswered).toBe(0);
    expect(core.counts.refused).toBe(0);
  });

  it("are bounded: what is too much for all is dropped, and the rest answered", () => {
    stage.close();
    stage = new Stage({ requestsMax: 100, clientInFlightMax: 10, queueCountMax: 50 }, times);
    ready("w");
    for (let i = 0; i < 1000; i++) {
      stage.receive("frontend", "c", frames("", "MDPC01", "echo", String(i)));
    }
    const dropped = stage.exchange.majordomo.unanswered;
    // Ten are asked, up to 8/9 of a hundred kept.
    expect(1000 - dropped).toBeGreaterThanOrEqual(90);
    expect(1000 - dropped).toBeLessThanOrEqual(110);
    // There is room for another.
    stage.receive("frontend", "d", frames("", "MDPC01", "echo", "d"));
    expect(answerAll()).toBe(1001 - dropped);
    expect(toClient("d")).toEqual([["", "MDPC01", "echo", "d"]]);
    expect(toClient("c")).toHaveLength(1000 - dropped);
  });

  it("are dropped with their client", () => {
    ready("w");
    for (let i = 0; i < 500; i++) {
      stage.receive("frontend", "c", frames("", "MDPC01", "echo", String(i)));
    }
    leave("frontend", "c");
    expect(answerAll()).toBe(1);
    expect(stage.exchange.core.requests.count).toBe(0);
  });

  it("are not asked any more when their key has lost the service", () => {
    const key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    const denials: Denial[] = [];
    const spec = (call: string[]) => ({ keys: { [key]: { call } } });
    const table = new AccessTable(spec(["echo", "more"]), (denial) => denials.push(denial));
    stage.ports.frontend.access = table.find(key);
    ready("w");
    ready("v", "more");
    for (let i = 0; i < 100; i++) {
      stage.receive("frontend", "c", frames("", "MDPC01", "echo", String(i)));
    }
    client("c", "", "MDPC01", "more", "last");
    const { count } = stage.exchange.core.requests;
    expect(count).toBe(64);
    table.replace(spec(["more"]));
    // Those that the core has already go on.
    expect(answerAll()).toBe(count);
    expect(stage.exchange.majordomo.unanswered).toBe(100 - count);
    expect(denials.map(({ action, what }) => `${action} ${what}`)).toContain("call echo");
    expect(taken("v").message.at(-1)).toBe("last");
  });

  it("are tried again when the broker was full", () => {
    stage.close();
    stage = new Stage({ requestsMax: 4, clientInFlightMax: 4, queueCountMax: 4 }, times);
    ready("w");
    for (const peer of ["a", "b", "c", "d", "e", "f"]) client(peer, "", "MDPC01", "echo", peer);
    const { core } = stage.exchange;
    expect(core.requests.count).toBe(4);
    let answered = answerAll();
    expect(answered).toBe(4);
    vi.advanceTimersByTime(200);
    answered += answerAll();
    expect(answered).toBe(6);
    for (const peer of ["e", "f"]) {
      expect(toClient(peer)).toEqual([["", "MDPC01", "echo", peer]]);
    }
    expect(stage.exchange.majordomo.unanswered).toBe(0);
  });
});

describe("heartbeats", () => {
  const beats = (messages: string[][]) => messages.filter((frames) => frames[2] === "\x04").length;

  it("go to every worker while there are any", () => {
    expect(vi.getTimerCount()).toBe(0);
    ready("v");
    worker("w", "MDPW02", 1, "echo");
    for (let i = 0; i < 4; i++) {
      vi.advanceTimersByTime(100);
      worker("v", "", "MDPW01", 4);
      worker("w", "MDPW02", 5);
    }
    expect(beats(toWorker("v"))).toBe(4);
    expect(toWorker("w")).toEqual(Array(4).fill(["MDPW02", "\x05"]));
    worker("v", "", "MDPW01", 5);
    worker("w", "MDPW02", 6);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("that do not come: the worker is gone, and may come again", () => {
    ready("w");
    vi.advanceTimersByTime(200);
    expect(stage.exchange.core.workerCount).toBe(1);
    vi.advanceTimersByTime(100);
    expect(stage.exchange.core.workerCount).toBe(0);
    stage.takeMessages("backend", "w");
    worker("w", "", "MDPW01", 4);
    expect(toWorker("w")).toEqual([["", "MDPW01", "\x05"]]);
    ready("w");
    expect(stage.exchange.core.workerCount).toBe(1);
  });

  it("of a worker that beats at its work: when they end, its request goes to another", () => {
    ready("v");
    client("c", "", "MDPC01", "echo", "x");
    const { address } = taken("v");
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(100);
      worker("v", "", "MDPW01", 4);
    }
    expect(stage.exchange.core.workerCount).toBe(1);
    ready("w");
    stage.takeMessages("backend", "w");
    for (let i = 0; i < 3; i++) {
      worker("w", "", "MDPW01", 4);
      vi.advanceTimersByTime(100);
    }
    const requests = toWorker("w").filter((message) => message[2] === "\x02");
    expect(requests).toHaveLength(1);
    worker("v", "", "MDPW01", 3, address, "", "late");
    worker("w", "", "MDPW01", 3, Buffer.from(requests[0][3], "latin1"), "", "good");
    expect(toClient("c")).toEqual([["", "MDPC01", "echo", "good"]]);
  });

  it("are not asked of one that is mute at its work, until nobody waits for it", () => {
    ready("w");
    client("c", "", "MDPC01", "echo", "x");
    vi.advanceTimersByTime(5000);
    expect(stage.exchange.core.workerCount).toBe(1);
    leave("frontend", "c");
    vi.advanceTimersByTime(200);
    expect(stage.exchange.core.workerCount).toBe(1);
    vi.advanceTimersByTime(200);
    expect(stage.exchange.core.workerCount).toBe(0);
  });

  it("are asked of it too where the broker is told so", () => {
    stage.close();
    stage = new Stage({}, { ...times, busyLiveness: 6 });
    ready("v");
    client("c", "", "MDPC01", "echo", "x");
    taken("v");
    vi.advanceTimersByTime(500);
    expect(stage.exchange.core.workerCount).toBe(1);
    ready("w");
    stage.takeMessages("backend", "w");
    vi.advanceTimersByTime(100);
    expect(toWorker("w").filter((message) => message[2] === "\x02")).toHaveLength(1);
    expect(stage.exchange.core.workerCount).toBe(1);
  });

  it("that wait unread behind a long turn are waited for", () => {
    ready("w");
    // The event loop stood still: the timer comes before what the sockets hold.
    vi.setSystemTime(Date.now() + 10_000);
    const before = performance.now();
    vi.spyOn(performance, "now").mockImplementation(() => before + 10_000);
    vi.advanceTimersByTime(100);
    expect(stage.exchange.core.workerCount).toBe(1);
    worker("w", "", "MDPW01", 4);
    vi.advanceTimersByTime(100);
    expect(stage.exchange.core.workerCount).toBe(1);
    vi.restoreAllMocks();
  });
});

it("sends its workers away when the broker has nothing left to do, and takes no more", async () => {
  ready("w");
  client("c", "", "MDPC01", "echo", "x");
  const { address } = taken("w");
  const closing = stage.exchange.shutdown(10_000);
  client("d", "", "MDPC01", "echo", "refused");
  ready("late");
  worker("w", "", "MDPW01", 3, address, "", "done");
  expect(await closing).toBe(true);
  expect(toClient("c")).toEqual([["", "MDPC01", "echo", "done"]]);
  expect(toClient("d")).toEqual([]);
  expect(toWorker("w")).toEqual([["", "MDPW01", "\x05"]]);
  expect(toWorker("late")).toEqual([]);
  expect(stage.exchange.core.workerCount).toBe(1);
});

it("asks what a peer's key may do: serve, call, and find", () => {
  const key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
  const denials: Denial[] = [];
  const table = new AccessTable(
    { keys: { [key]: { serve: ["echo"], call: ["echo"] } } },
    (denial) => denials.push(denial),
  );
  stage.ports.frontend.access = table.find(key);
  stage.ports.backend.access = table.find(key);
  ready("v", "other");
  ready("w", "echo");
  stage.send("backend", "n", workerHello(["echo"]));
  expect(stage.exchange.core.workerCount).toBe(2);
  client("c", "", "MDPC01", "other", "x");
  client("c", "", "MDPC01", "mmi.service", "other");
  client("c", "", "MDPC01", "mmi.service", "echo");
  expect(toClient("c").map((message) => message[3])).toEqual(["404", "200"]);
  expect(denials.map(({ action, what }) => `${action} ${what}`)).toEqual([
    "serve other",
    "call other",
  ]);
  expect(stage.exchange.majordomo.unanswered).toBe(1);
});
