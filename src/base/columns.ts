type Column = Uint8Array | Uint32Array | Int32Array | Float64Array;

/** `wider` with the values of `narrow` at its start. */
export function grown<C extends Column>(narrow: C, wider: C): C {
  wider.set(narrow);
  return wider;
}
