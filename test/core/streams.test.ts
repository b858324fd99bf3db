import { describe, expect, it } from "vitest";
import { Status } from "../../build/base/status.js";
import { Scene } from "./scene.js";

/** Client 1 and worker 10, which has stream 1 with two parts granted. */
function streaming(stream: "once" | "restart" = "once", attempts = 3): Scene {
  const scene = new Scene();
  scene.client(1);
  scene.worker(10);
  expect(scene.ask(1, 1, { stream, attempts })).toEqual(["dispatch w10 c1#1"]);
  expect(scene.grant(1, 1, 2)).toEqual(["grant w10 c1#1 2 1000"]);
  return scene;
}

describe("parts", () => {
  it("go to the client in order, then the end, which frees the worker", () => {
    const scene = streaming();
    expect(scene.streamPart(1, 1, 0)).toEqual(["stream-part c1#1"]);
    expect(scene.streamPart(1, 1, 1)).toEqual(["stream-part c1#1"]);
    expect(scene.core.worker(10)?.inFlight).toBe(1);
    expect(scene.streamPart(1, 1, 2, { isLast: true })).toEqual(["reply c1#1", "release c1#1"]);
    expect(scene.core.worker(10)?.inFlight).toBe(0);
    expect(scene.core.counts).toMatchObject({ parts: 2, replies: 1, failures: 0, stale: 0 });
    expect(scene.core.streams.count).toBe(0);
  });

  it.each([
    ["a gap", 1, {}],
    ["one twice", 0, {}],
    ["an end too early", 2, { isLast: true }],
    ["what cannot be passed on", 1, { fault: "too large" }],
  ])("end the stream at %s", (_, index, change) => {
    const scene = streaming();
    if (index !== 1) scene.streamPart(1, 1, 0);
    const effects = scene.streamPart(1, 1, index, change);
    const isLast = "isLast" in change;
    const told = isLast ? [] : ["abort w10 c1#1 CANCELLED"];
    expect(effects).toEqual(["fail c1#1 INTERNAL", ...told, "release c1#1"]);
    // Told to stop, it still answers once; until then its credit is spent.
    expect(scene.core.worker(10)?.inFlight).toBe(isLast ? 0 : 1);
  });

  it("beyond what was granted end it, in parts and in bytes", () => {
    const scene = streaming();
    scene.streamPart(1, 1, 0);
    scene.streamPart(1, 1, 1);
    expect(scene.streamPart(1, 1, 2)).toContain("fail c1#1 INTERNAL");
    expect(scene.lastReason).toMatch("more parts than were granted");
    const other = streaming();
    expect(other.streamPart(1, 1, 0, { bytes: 5000 })).toEqual(["stream-part c1#1"]);
    expect(other.streamPart(1, 1, 1)).toContain("fail c1#1 INTERNAL");
    expect(other.lastReason).toMatch("more bytes than were granted");
  });

  it("that cannot be passed on end it as what they say it is, and their worker has its place until its end", () => {
    const scene = streaming();
    const fault = { fault: "no room", faultStatus: Status.RESOURCE_EXHAUSTED };
    expect(scene.streamPart(1, 1, 0, fault)).toEqual([
      "fail c1#1 RESOURCE_EXHAUSTED",
      "abort w10 c1#1 CANCELLED",
      "release c1#1",
    ]);
    expect(scene.lastReason).toMatch("no room");
    expect(scene.streamPart(1, 1, 5)).toEqual([]);
    expect(scene.core.worker(10)?.inFlight).toBe(1);
    expect(scene.streamPart(1, 1, 0, { isLast: true })).toEqual([]);
    expect(scene.core.worker(10)?.inFlight).toBe(0);
  });

  it("may be sent while there is room, in parts and in bytes", () => {
    const scene = streaming();
    const stream = () => scene.core.streams.at(scene.attempt(1, 1).slot);
    expect(stream()?.hasRoom).toBe(true);
    scene.streamPart(1, 1, 0);
    scene.streamPart(1, 1, 1);
    expect(stream()?.hasRoom).toBe(false);
    scene.grant(1, 1, 9);
    scene.streamPart(1, 1, 2, { bytes: 980 });
    expect(stream()?.hasRoom).toBe(false);
    scene.grant(1, 1, 9, 1001);
    expect(stream()?.hasRoom).toBe(true);
  });

  it("of an attempt that is not current are stale", () => {
    const scene = streaming("restart");
    const first = scene.attempt(1, 1);
    scene.leave(10);
    scene.worker(11);
    expect(scene.streamPartFor(first, 0)).toEqual([]);
    expect(scene.core.counts.stale).toBe(1);
  });

  it("of what nobody waits for any more go nowhere, and the end frees the worker", () => {
    const scene = streaming();
    scene.streamPart(1, 1, 0);
    expect(scene.cancel(1, 1)).toEqual(["abort w10 c1#1 CANCELLED", "release c1#1"]);
    expect(scene.streamPart(1, 1, 1)).toEqual([]);
    expect(scene.streamPart(1, 1, 2, { isLast: true })).toEqual([]);
    expect(scene.core.worker(10)?.inFlight).toBe(0);
    expect(scene.core.counts).toMatchObject({ cancelled: 1, replies: 0, stale: 0 });
  });

  it("of what is no stream end the request", () => {
    const scene = new Scene();
    scene.client(1);
    scene.worker(10);
    scene.ask(1, 1);
    expect(scene.streamPart(1, 1, 0)).toContain("fail c1#1 INTERNAL");
    expect(scene.grant(1, 1, 2)).toEqual([]);
  });
});

describe("grants", () => {
  it("go on to the worker when there is more than before", () => {
    const scene = streaming();
    expect(scene.grant(1, 1, 2)).toEqual([]);
    expect(scene.grant(1, 1, 5)).toEqual(["grant w10 c1#1 5 1000"]);
    expect(scene.grant(1, 1, 3, 2000)).toEqual(["grant w10 c1#1 5 2000"]);
    expect(scene.grant(1, 99, 3)).toEqual([]);
  });

  it("of a stream that waits go with it to its worker", () => {
    const scene = new Scene();
    scene.client(1);
    scene.ask(1, 1, { stream: "once" });
    expect(scene.grant(1, 1, 7)).toEqual([]);
    expect(scene.worker(10)).toEqual(["dispatch w10 c1#1", "grant w10 c1#1 7 1000"]);
  });

  it("are never less than nothing, where a part of a run that is lost was larger than its rest", () => {
    const scene = streaming("restart");
    scene.streamPart(1, 1, 0, { bytes: 1500 });
    scene.worker(11);
    expect(scene.leave(10)).toContain("grant w11 c1#1 1 0");
  });

  it("for a request that is no stream are refused", () => {
    const scene = new Scene();
    scene.client(1);
    scene.worker(10);
    scene.ask(1, 1);
    expect(scene.grant(1, 1, 7)).toEqual(["refuse p1 INVALID_ARGUMENT"]);
  });

  it("are not waited for behind: nothing is handed out beyond a stream", () => {
    const scene = new Scene({ lookAheadMs: 100 });
    scene.client(1);
    scene.worker(10, 1, ["echo"], true);
    for (let n = 1; n <= 20; n++) {
      scene.ask(1, n);
      scene.nowMs += 2;
      scene.reply(1, n);
    }
    expect(scene.core.worker(10)?.lookAhead).toBeGreaterThan(0);
    scene.ask(1, 30, { stream: "once" });
    expect(scene.ask(1, 31)).toEqual(["hold c1#31"]);
  });
});

describe("a worker that is lost", () => {
  it("before the first part: the stream goes to another, with its grant", () => {
    const scene = streaming();
    expect(scene.leave(10)).toEqual(["hold c1#1"]);
    expect(scene.worker(11)).toEqual(["dispatch w11 c1#1", "grant w11 c1#1 2 1000"]);
  });

  it("after it: the stream ends as UNAVAILABLE", () => {
    const scene = streaming();
    scene.streamPart(1, 1, 0);
    expect(scene.leave(10)).toEqual(["fail c1#1 UNAVAILABLE", "release c1#1"]);
    expect(scene.lastReason).toMatch("in mid-stream");
    expect(scene.core.streams.count).toBe(0);
  });

  it("after it, where it may restart: it begins anew, with what is left of the grant", () => {
    const scene = streaming("restart");
    scene.streamPart(1, 1, 0);
    expect(scene.leave(10)).toEqual(["hold c1#1"]);
    expect(scene.worker(11)).toEqual(["dispatch w11 c1#1", "grant w11 c1#1 1 990"]);
    expect(scene.streamPart(1, 1, 0)).toEqual(["stream-part c1#1"]);
    expect(scene.grant(1, 1, 6)).toEqual(["grant w11 c1#1 5 990"]);
    expect(scene.streamPart(1, 1, 1, { isLast: true })).toEqual(["reply c1#1", "release c1#1"]);
  });

  it("for the last time: UNAVAILABLE, whatever it may", () => {
    const scene = streaming("restart", 1);
    scene.streamPart(1, 1, 0);
    expect(scene.leave(10)).toEqual(["fail c1#1 UNAVAILABLE", "release c1#1"]);
  });

  it("having said that it never began: that is not believed after a part", () => {
    const scene = streaming();
    scene.streamPart(1, 1, 0);
    scene.drain(10);
    expect(scene.failure(1, 1, Status.UNAVAILABLE, true)).toContain("fail c1#1 UNAVAILABLE");
    expect(scene.lastAttempts).toBe(1);
  });
});
