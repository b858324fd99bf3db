import { type Codec, type CodecContext, readEnvelope } from "../codec/index.js";

/** Bytes of the same bodies in three forms. */
export interface ByteCounts {
  json: number;
  messagePack: number;
  sealed: number;
}

/** What went out through a codec as requests and came in as replies. */
export interface CodecMeter {
  request: ByteCounts;
  reply: ByteCounts;
}

/** Counts, from now on, the bodies that `codec` seals and opens: the real ones, not a sample. */
export function meterCodec(codec: Codec): CodecMeter {
  const meter: CodecMeter = {
    request: { json: 0, messagePack: 0, sealed: 0 },
    reply: { json: 0, messagePack: 0, sealed: 0 },
  };
  const count = (value: unknown, envelope: Uint8Array, { direction }: CodecContext) => {
    // The story has requests and replies alone.
    if (direction !== "request" && direction !== "reply") return;
    const counts = meter[direction];
    counts.json += Buffer.byteLength(JSON.stringify(value));
    counts.messagePack += readEnvelope(envelope).plainSize;
    counts.sealed += envelope.length;
  };
  // What the client seals its requests with; that is no promise while bodies are small.
  const sealSoon = codec.sealSoon.bind(codec);
  const open = codec.open.bind(codec);
  codec.sealSoon = (value, context, origin) => {
    const envelope = sealSoon(value, context, origin);
    if (!(envelope instanceof Promise)) count(value, envelope, context);
    return envelope;
  };
  codec.open = (envelope: Uint8Array, context: CodecContext, isPassing: boolean = false) => {
    const value = open(envelope, context, isPassing);
    count(value, envelope, context);
    return value;
  };
  return meter;
}
