// The frames of rfc.zeromq.org/spec/7 (0.1) and spec/18 (0.2), as these write them down.
import { describe, expect, it } from "vitest";
import {
  addressOf,
  attemptOf,
  type Dialect,
  disconnectToWorker,
  heartbeatToWorker,
  readMajordomo,
  replyToClient,
  requestToWorker,
} from "../../build/wire/majordomo.js";

const old: Dialect = { version: 1, isDelimited: true };
const bare: Dialect = { version: 2, isDelimited: false };
const delimited: Dialect = { version: 2, isDelimited: true };

/** Frames from text; a number is a frame of one byte. */
function frames(...parts: (string | number)[]): Buffer[] {
  return parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part)));
}

function shown(message: readonly Uint8Array[]): string[] {
  return message.map((frame) => Buffer.from(frame).toString("latin1"));
}

/** What a message says, bytes as text. */
function read(...parts: (string | number)[]) {
  const message = readMajordomo(frames(...parts), 0);
  if (message === undefined) return undefined;
  const { from, dialect, command } = message;
  const bytes = Object.entries(command).map(([key, value]) => {
    if (Array.isArray(value)) return [key, shown(value)];
    return [key, typeof value === "string" ? value : String(value)];
  });
  return { from, dialect, ...Object.fromEntries(bytes) };
}

describe("reads", () => {
  const none = undefined;
  const bad = { kind: "malformed" };
  const reply = { address: "addr", body: ["a", "b"] };
  const tail = ["addr", "", "a", "b"];
  it.each<[string, (string | number)[], object | undefined]>([
    [
      "REQUEST 0.1",
      ["", "MDPC01", "echo", "a", "b"],
      { from: "client", dialect: old, kind: "request", service: "echo", body: ["a", "b"] },
    ],
    ["REQUEST 0.1 of no body", ["", "MDPC01", "echo"], { kind: "request", body: [""] }],
    ["REQUEST 0.1 of no service", ["", "MDPC01"], bad],
    ["0.1 without the empty frame", ["MDPC01", "echo", "a"], none],
    [
      "REQUEST 0.2",
      ["MDPC02", 1, "echo", "a"],
      { from: "client", dialect: bare, kind: "request", service: "echo", body: ["a"] },
    ],
    [
      "REQUEST 0.2 with an empty frame",
      ["", "MDPC02", 1, "echo", "a"],
      { dialect: delimited, kind: "request", service: "echo" },
    ],
    ["0.2 of a client that says FINAL", ["MDPC02", 3, "echo", "a"], bad],
    ["0.2 without a command", ["MDPC02", "echo", "a"], bad],
    ["0.2 of a header alone", ["MDPC02"], bad],
    [
      "READY 0.1",
      ["", "MDPW01", 1, "echo"],
      { from: "worker", dialect: old, kind: "ready", service: "echo" },
    ],
    ["READY 0.1 of no service", ["", "MDPW01", 1], bad],
    ["REQUEST 0.1 of a worker", ["", "MDPW01", 2, ...tail], bad],
    ["REPLY 0.1", ["", "MDPW01", 3, ...tail], { kind: "reply", ...reply }],
    ["REPLY 0.1 of no body", ["", "MDPW01", 3, "addr", ""], { kind: "reply", body: [""] }],
    ["REPLY 0.1 of two addresses", ["", "MDPW01", 3, "one", "two", "", "a"], bad],
    ["REPLY 0.1 of an address alone", ["", "MDPW01", 3, "addr"], bad],
    ["HEARTBEAT 0.1", ["", "MDPW01", 4], { kind: "heartbeat" }],
    ["DISCONNECT 0.1", ["", "MDPW01", 5], { kind: "disconnect" }],
    ["6 of 0.1", ["", "MDPW01", 6], bad],
    ["0 of 0.1", ["", "MDPW01", 0], bad],
    ["a command of two bytes", ["", "MDPW01", "\u0004\u0004"], bad],
    ["READY 0.2", ["MDPW02", 1, "echo"], { dialect: bare, kind: "ready", service: "echo" }],
    ["PARTIAL 0.2", ["MDPW02", 3, ...tail], { kind: "part", ...reply }],
    ["FINAL 0.2", ["", "MDPW02", 4, ...tail], { dialect: delimited, kind: "reply", ...reply }],
    ["HEARTBEAT 0.2", ["MDPW02", 5], { kind: "heartbeat" }],
    ["DISCONNECT 0.2", ["MDPW02", 6], { kind: "disconnect" }],
    ["a plain body", ["", "hello"], none],
    ["a plain body of six bytes", ["", "MDPC03", "a"], none],
    ["nothing", [""], none],
  ])("%s", (_name, message, expected) => {
    if (expected === undefined) expect(read(...message)).toBeUndefined();
    else expect(read(...message)).toMatchObject(expected);
  });
});

it("writes each command as its specification has it", () => {
  const body = frames("a", "b");
  const address = Buffer.from("addr");
  const service = Buffer.from("echo");
  expect(shown(requestToWorker(old, address, body))) //
    .toEqual(["", "MDPW01", "\x02", "addr", "", "a", "b"]);
  expect(shown(requestToWorker(bare, address, body))) //
    .toEqual(["MDPW02", "\x02", "addr", "", "a", "b"]);
  expect(shown(heartbeatToWorker(old))).toEqual(["", "MDPW01", "\x04"]);
  expect(shown(heartbeatToWorker(bare))).toEqual(["MDPW02", "\x05"]);
  expect(shown(disconnectToWorker(old))).toEqual(["", "MDPW01", "\x05"]);
  expect(shown(disconnectToWorker(delimited))).toEqual(["", "MDPW02", "\x06"]);
  expect(shown(replyToClient(old, service, body))).toEqual(["", "MDPC01", "echo", "a", "b"]);
  expect(shown(replyToClient(bare, service, body))).toEqual(["MDPC02", "\x03", "echo", "a", "b"]);
  expect(shown(replyToClient(delimited, service, body, true))) //
    .toEqual(["", "MDPC02", "\x02", "echo", "a", "b"]);
});

it("names an attempt by its address, and none by any other bytes", () => {
  const attempt = { slot: 70_000, generation: 0xfffffffe };
  expect(attemptOf(addressOf(attempt.slot, attempt.generation))).toEqual(attempt);
  // As it stands in a frame that is part of a larger buffer.
  const inside = Buffer.concat([Buffer.alloc(3), addressOf(1, 2)]).subarray(3);
  expect(attemptOf(inside)).toEqual({ slot: 1, generation: 2 });
  for (const size of [0, 7, 9]) expect(attemptOf(Buffer.alloc(size)).slot).toBe(0xffffffff);
});
