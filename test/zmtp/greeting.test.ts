import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkGreeting,
  encodeError,
  encodeGreeting,
  greetingSize,
  type Handshake,
  readHandshake,
  readySizeMax,
  speaksZmtp3,
} from "../../build/zmtp/greeting.js";
import { encodeReady, handshakeBytes } from "./zmtp-peer.js";

const faultOf = (handshake: Handshake) =>
  handshake.state === "faulty" ? handshake.fault : handshake.state;

describe("the greeting", () => {
  it("is laid out as RFC 23 says", () => {
    const greeting = encodeGreeting("NULL");
    expect(greeting.toString("hex")).toBe(
      `ff00000000000000017f0301${Buffer.from("NULL").toString("hex")}${"00".repeat(48)}`,
    );
    expect(checkGreeting(greeting, "NULL")).toEqual({ state: "whole", version: 3 });
    // RFC 26: whose key is known beforehand says that it is the server.
    const server = encodeGreeting("CURVE", true);
    expect(server[32]).toBe(1);
    expect(checkGreeting(server, "CURVE")).toEqual({ state: "whole", version: 3 });
    server[32] = 0;
    expect(server).toEqual(encodeGreeting("CURVE"));
  });

  it.each([
    ["an HTTP request", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "not-zmtp"],
    ["a TLS hello", Buffer.from("1603010200010001fc0303", "hex"), "not-zmtp"],
    ["an unversioned ZMTP 1.0 peer", Buffer.from([1, 0]), "not-zmtp"],
    ["a ZMTP 1.0 frame of long size", Buffer.from("ff00000000000000010000", "hex"), "zmtp-version"],
    [
      "a revision between ZMTP 1.0 and 2.0",
      Buffer.from("ff00000000000000017f00", "hex"),
      "zmtp-version",
    ],
    [
      "a revision between ZMTP 2.0 and 3.0",
      Buffer.from("ff00000000000000017f02", "hex"),
      "zmtp-version",
    ],
    ["ZMTP 2.0 of no socket type", Buffer.from("ff00000000000000017f010b", "hex"), "not-zmtp"],
    ["CURVE", encodeGreeting("CURVE"), "mechanism"],
    ["NULLIFY", encodeGreeting("NULLIFY"), "mechanism"],
  ])("refuses %s", (_, bytes, fault) => {
    expect(faultOf(readHandshake(bytes, "NULL"))).toBe(fault);
  });

  it("takes the mechanism as a parameter", () => {
    expect(checkGreeting(encodeGreeting("CURVE"), "CURVE")).toEqual({ state: "whole", version: 3 });
  });
});

describe("ZMTP 2.0", () => {
  const greeting = Buffer.from("ff00000000000000017f0104", "hex");

  it("says its socket type behind the revision", () => {
    for (let size = 0; size < greeting.length; size++) {
      expect(readHandshake(greeting.subarray(0, size), "NULL")).toEqual({ state: "partial" });
      expect(speaksZmtp3(greeting.subarray(0, size))).toBe(false);
    }
    const ready = { state: "ready", socketType: "REP", version: 2 };
    expect(readHandshake(greeting, "NULL")).toEqual(ready);
    expect(readHandshake(Buffer.concat([greeting, Buffer.alloc(100)]), "NULL")).toEqual(ready);
  });

  it("is refused where a mechanism is asked for, as it has none", () => {
    expect(faultOf(readHandshake(greeting, "CURVE"))).toBe("mechanism");
  });
});

describe("READY", () => {
  it("gives the socket type at its last byte, not before", () => {
    for (const long of [false, true]) {
      const bytes = Buffer.concat([encodeGreeting("NULL"), encodeReady("DEALER", { long })]);
      for (let size = 0; size < bytes.length; size++) {
        expect(readHandshake(bytes.subarray(0, size), "NULL")).toEqual({ state: "partial" });
      }
      const ready = { state: "ready", socketType: "DEALER", version: 3 };
      expect(readHandshake(bytes, "NULL")).toEqual(ready);
      expect(readHandshake(Buffer.concat([bytes, Buffer.alloc(100)]), "NULL")).toEqual(ready);
    }
  });

  const read = (frame: Buffer) =>
    faultOf(readHandshake(Buffer.concat([encodeGreeting("NULL"), frame]), "NULL"));

  it("refuses what is none", () => {
    expect(read(Buffer.from([0, 0]))).toBe("ready-malformed");
    expect(read(Buffer.from([4, 0]))).toBe("ready-malformed");
    expect(read(encodeError("no"))).toBe("peer-error");
    expect(read(encodeReady("", {}))).toBe("ready-malformed");
    expect(read(encodeReady("R\x1bP", {}))).toBe("ready-malformed");
    expect(read(Buffer.from("\x04\x06\x05READY", "latin1"))).toBe("ready-malformed");
    expect(read(Buffer.from("\x04\x07\x05READY\x05", "latin1"))).toBe("ready-malformed");
  });

  it("refuses a second socket type, in whatever case", () => {
    const property = (name: string, value: string) =>
      Buffer.concat([
        Buffer.from([name.length]),
        Buffer.from(name),
        Buffer.from([0, 0, 0, value.length]),
        Buffer.from(value),
      ]);
    const body = Buffer.concat([
      Buffer.from("\x05READY", "latin1"),
      property("socket-TYPE", "REP"),
      property("Socket-Type", "DEALER"),
    ]);
    expect(read(Buffer.concat([Buffer.from([4, body.length]), body]))).toBe("ready-malformed");
  });

  it("refuses a size above the limit from its header alone", () => {
    const header = Buffer.from([6, 0, 0, 0, 0, 0, 0, 0, 0]);
    header.writeUInt32BE(readySizeMax + 1, 5);
    expect(read(header)).toBe("ready-too-large");
    header.fill(0xff, 1);
    expect(read(header)).toBe("ready-too-large");
  });
});

describe("any bytes", () => {
  const states = ["partial", "ready", "faulty"];

  it("never throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(states).toContain(readHandshake(bytes, "NULL").state);
      }),
    );
  });

  it("never throw when a good handshake is mutated or cut", () => {
    const good = handshakeBytes("REP");
    const mutation = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(mutation, { minLength: 1, maxLength: 6 }),
        fc.nat(good.length),
        (mutations, size) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of mutations) bytes[at] = value;
          const handshake = readHandshake(bytes.subarray(0, size), "NULL");
          expect(states).toContain(handshake.state);
          if (handshake.state === "ready") expect(handshake.socketType).toMatch(/^[A-Z]{1,16}$/);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("never throw after a good greeting", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(80), (tail, size) => {
        const ready = Buffer.from([4, size, 5, ...Buffer.from("READY"), ...tail]);
        const bytes = Buffer.concat([encodeGreeting("NULL"), ready]);
        expect(bytes.length).toBeGreaterThan(greetingSize);
        expect(states).toContain(readHandshake(bytes, "NULL").state);
      }),
      { numRuns: 2000 },
    );
  });
});
