// Which of JavaScript's own classes an object is of, and how each is packed.

/** The bytes of an object that packs to bin: Uint8Array, Buffer, ArrayBuffer, DataView. */
export function bytesOf(value: object): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (!ArrayBuffer.isView(value)) return undefined;
  // By name too, for those of another realm, such as a vm context's.
  if (value instanceof DataView || kindOf(value) === "DataView") {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  return kindOf(value) === "Uint8Array" ? (value as Uint8Array) : undefined;
}

/**
 * Of what is not bytes: the other typed arrays hold numbers, and pack to arrays, in any byte order.
 */
export function numbersOf(value: object): ArrayLike<number | bigint> | undefined {
  if (!ArrayBuffer.isView(value)) return undefined;
  return value as unknown as ArrayLike<number | bigint>;
}

// Their own properties say nothing of what they hold, so they would arrive as {} without a word.
// Date, Map and ArrayBuffer are met here only when they are of another realm.
const opaqueKinds = new Set([
  "Date",
  "Map",
  "ArrayBuffer",
  "Error",
  "Promise",
  "Set",
  "WeakMap",
  "WeakSet",
  "WeakRef",
  "RegExp",
  "Number",
  "String",
  "Boolean",
  "Symbol",
  "BigInt",
  "SharedArrayBuffer",
  "Generator",
  "AsyncGenerator",
]);

/** The language's name of an object's kind: "Error" for every subclass of Error. */
export function kindOf(value: object): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Whether an object is of a kind whose content its properties do not show. */
export function isOpaque(value: object): boolean {
  return opaqueKinds.has(kindOf(value));
}
