// The kinds of a tape's entries: | kind u32 (low 5 bits) and size << 5 | word u32 |
// assembly/kinds.ts has their meaning.
export const INT = 3;
export const FLOAT = 4;
export const UINT64 = 5;
export const INT64 = 6;
export const ASCII = 7;
export const UTF8 = 8;
export const BIN = 9;
export const EXT = 10;
export const ARRAY = 11;
export const MAP = 12;
export const KNOWN = 13;
export const NEW = 14;
export const DATE = 15;
export const WIDE = 16;
export const INTS = 17;
export const FLOATS = 18;

export const KIND_MASK = 31;
export const SIZE_SHIFT = 5;
