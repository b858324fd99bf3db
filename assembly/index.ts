// The codec's WASM module. Only integers cross: offsets and sizes in, a size or a status out.
//
// Linear memory:
//   | static tables (status, strings, shapes, wide, tape, lz4) | dictionaries | working area ... |
//
// The host places bytes anywhere from base() on; parse() lays its tape right behind the bytes.
// Dictionaries come first and stay; what is compressed or decompressed with one lies behind it.
export { blockSize } from "./block";
export { compress, forgetPositions } from "./lz4-compress";
export { decompress, decompressUsing } from "./lz4-decompress";
export { compressUsing, indexDictionary, indexSize } from "./lz4-dictionary";
export { packNumbers, packStrings } from "./pack";
export { shapeCount, shapeNodes } from "./shapes";
export { forget, parse } from "./tape";
export { wideUnits } from "./wide";
export { base, errorOffset } from "./status";
