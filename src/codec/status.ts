import { CodecError, type CodecErrorCode } from "./errors.js";

// The statuses of the WASM module, in the order of assembly/status.ts.
const STATUSES: readonly (readonly [CodecErrorCode, string])[] = [
  ["TRUNCATED", "the bytes end before the value does"],
  ["TRAILING_BYTES", "bytes follow the value"],
  ["RESERVED_BYTE", "0xc1 is no MessagePack type"],
  ["TOO_DEEP", "arrays and maps are nested deeper than depthMax"],
  ["BAD_KEY", "a map's key is neither a string nor a number"],
  ["BAD_TIMESTAMP", "a timestamp has a size other than 4, 8, 12 or more than 999999999 ns"],
  ["OUT_OF_MEMORY", "no memory for the value"],
  ["BAD_BLOCK", "the LZ4 block ends in the middle of a sequence"],
  ["BAD_BLOCK", "an LZ4 match has offset 0"],
  ["BAD_BLOCK", "an LZ4 match reaches back beyond the first byte"],
  ["BAD_BLOCK", "the LZ4 block has no last literals"],
  ["TOO_LARGE", "the LZ4 block holds more bytes than allowed"],
];

/** The error for a negative result of the WASM module; `at` is an offset into the input. */
export function errorOf(result: number, at: number): CodecError {
  const [code, reason] = STATUSES[-result - 1];
  return new CodecError(code, code === "OUT_OF_MEMORY" ? reason : `${reason} (at byte ${at})`);
}
