// The codec's WASM module. Only integers cross: offsets and sizes in, a size or a status out.
//
// Linear memory:  | static tables (status, strings, shapes, wide, tape) | working area, upwards ... |
// The host places bytes anywhere from base() on; parse() lays its tape right behind the bytes.
export { blockSize } from "./block";
export { forget, parse, plainCount } from "./tape";
export { shapeEpoch, shapeNodes } from "./shapes";
export { wideCount, wideUnits } from "./wide";
export { base, errorOffset } from "./status";
