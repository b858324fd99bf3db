// Before each test file: memory that is used again is written over as soon as it may be, so that whoever keeps a
// view of it is found out by any test, and not by the traffic of a busy day.
import { Blocks } from "../build/base/blocks.js";
import { FrameReader } from "../build/zmtp/frames.js";

const POISON = 0xdd;

const { read } = FrameReader.prototype;
FrameReader.prototype.read = function (this: FrameReader, chunk: Buffer) {
  const fault = read.call(this, chunk);
  chunk.fill(POISON);
  return fault;
};

const { giveBack } = Blocks.prototype;
Blocks.prototype.giveBack = function (this: Blocks, bytes: Uint8Array) {
  if (this.has(bytes)) Buffer.from(bytes.buffer).fill(POISON);
  giveBack.call(this, bytes);
};
