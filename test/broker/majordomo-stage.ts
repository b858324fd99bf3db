// Majordomo peers at an exchange without sockets, frame by frame.
import { expect } from "vitest";
import type { Side } from "../../build/broker/exchange.js";
import type { Stage } from "./fake-port.js";

export type Part = string | number | Uint8Array;

/** One byte for a number, one for each character of a text. */
export function frames(...parts: readonly Part[]): Uint8Array[] {
  return parts.map((part) => {
    if (typeof part === "number") return Buffer.of(part);
    return typeof part === "string" ? Buffer.from(part, "latin1") : part;
  });
}

/** `peer` says this, and the turn ends. */
export function say(stage: Stage, side: Side, peer: string, ...parts: readonly Part[]): void {
  stage.receive(side, peer, frames(...parts));
  stage.exchange.onTurn();
}

/** The messages for `peer` since they were last taken, as text. */
export function got(stage: Stage, side: Side, peer: string): string[][] {
  return stage.takeMessages(side, peer).map((message) => {
    return message.map((frame) => Buffer.from(frame).toString("latin1"));
  });
}

/** The one REQUEST that `peer` was sent, and its address. */
export function taken(stage: Stage, peer: string): { address: Buffer; message: string[] } {
  const messages = got(stage, "backend", peer);
  expect(messages).toHaveLength(1);
  const [message] = messages;
  const at = message.indexOf("\x02") + 1;
  return { address: Buffer.from(message[at], "latin1"), message };
}

export function hex(text: string): string {
  return Buffer.from(text, "latin1").toString("hex");
}
