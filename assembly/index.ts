// The codec's WASM module. Only integers cross: offsets and sizes in, a size or a status out.
//
// Linear memory:
//   | static tables (status, strings, shapes, wide, tape, lz4) | dictionary 64 KiB | working area ... |
//
// The host places bytes anywhere from base() on; parse() lays its tape right behind the bytes. A
// dictionary ends where the working area begins, so that plain text at base() stands right behind
// it, and a match that reaches back into it is a match like any other.
export { blockSize } from "./block";
export { compress, forgetPositions } from "./lz4-compress";
export { decompress } from "./lz4-decompress";
export { packNumbers, packStrings } from "./pack";
export { shapeCount, shapeNodes } from "./shapes";
export { forget, parse } from "./tape";
export { wideUnits } from "./wide";
export { base, errorOffset } from "./status";
