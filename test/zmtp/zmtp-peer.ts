// ZMTP by hand, for peers that behave as no ZeroMQ socket would.
import { connect, type Socket } from "node:net";
import { encodeGreeting } from "../../build/zmtp/greeting.js";

export function encodeReady(socketType: string, { long = false }: { long?: boolean }): Buffer {
  const body = Buffer.concat([
    Buffer.from("\x05READY\x0bSocket-Type", "latin1"),
    Buffer.from([0, 0, 0, socketType.length]),
    Buffer.from(socketType, "latin1"),
    Buffer.from("\x08Identity\0\0\0\0", "latin1"),
  ]);
  if (!long) return Buffer.concat([Buffer.from([4, body.length]), body]);
  const header = Buffer.from([6, 0, 0, 0, 0, 0, 0, 0, body.length]);
  return Buffer.concat([header, body]);
}

export function handshakeBytes(socketType: string): Buffer {
  return Buffer.concat([encodeGreeting("NULL"), encodeReady(socketType, {})]);
}

/** A message's frames: | flags u8 | size u8 or u64 | body |. */
export function encodeMessage(parts: Buffer[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part, index) => {
      const more = index < parts.length - 1 ? 1 : 0;
      if (part.length < 256) return [Buffer.from([more, part.length]), part];
      const header = Buffer.alloc(9);
      header[0] = more | 2;
      header.writeUInt32BE(part.length, 5);
      return [header, part];
    }),
  );
}

export function connectTo(endpoint: string): Socket {
  const match = /^tcp:\/\/\[?(.*?)\]?:(\d+)$/.exec(endpoint);
  const socket = match
    ? connect({ host: match[1], port: Number(match[2]), noDelay: true })
    : connect({ path: endpoint.slice("ipc://".length) });
  socket.on("error", () => {});
  return socket;
}
