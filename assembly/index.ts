// The codec's WASM module. Only integers cross: offsets and sizes in, a size or a status out.
//
// Linear memory:  | static tables (status.ts, keys.ts, tape.ts) | working area, grows upwards ... |
// The host places bytes anywhere from base() on; parse() lays its tape right behind the bytes.
export { blockSize } from "./block";
export { forgetKeys } from "./keys";
export { parse } from "./tape";
export { base, errorOffset } from "./status";
