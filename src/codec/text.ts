/** Strings in one ArrayBuffer: offsets and sizes in bytes. */
export interface TextBytes {
  /** Writes the string as UTF-8, lone surrogates as U+FFFD, and returns the size written. */
  write(value: string, offset: number): number;
  /** Writes the string's UTF-16, little-endian, at an even offset. */
  writeWide(value: string, offset: number): void;
  /** A string of a unit a byte; of bytes from 0x80 on anything, as long as it is one unit. */
  latin1(offset: number, end: number): string;
  /** The string of valid UTF-16, little-endian, at an even offset. */
  wide(offset: number, end: number): string;
  /** The string of UTF-8; what is not valid becomes U+FFFD as TextDecoder has it. */
  utf8(offset: number, end: number): string;
}

// Node's Buffer has these, undocumented but used by Node itself; they are several times faster
// than TextEncoder and TextDecoder on short strings.
interface NodeBytes {
  utf8Write(value: string, offset: number): number;
  ucs2Write(value: string, offset: number): number;
  latin1Slice(offset: number, end: number): string;
  ucs2Slice(offset: number, end: number): string;
  utf8Slice(offset: number, end: number): string;
}

class NodeText implements TextBytes {
  readonly #bytes: NodeBytes;
  constructor(bytes: NodeBytes) {
    this.#bytes = bytes;
  }
  write(value: string, offset: number): number {
    return this.#bytes.utf8Write(value, offset);
  }
  writeWide(value: string, offset: number): void {
    this.#bytes.ucs2Write(value, offset);
  }
  latin1(offset: number, end: number): string {
    return this.#bytes.latin1Slice(offset, end);
  }
  wide(offset: number, end: number): string {
    return this.#bytes.ucs2Slice(offset, end);
  }
  utf8(offset: number, end: number): string {
    return this.#bytes.utf8Slice(offset, end);
  }
}

/** The same by the web's own means. Exported for the suite, which holds both to the same cases. */
export class WebText implements TextBytes {
  readonly #bytes: Uint8Array;
  readonly #encoder = new TextEncoder();
  // A byte order mark is a character of the string like any other.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #latin1 = new TextDecoder("latin1");
  readonly #utf16 = new TextDecoder("utf-16le", { ignoreBOM: true });
  constructor(buffer: ArrayBuffer) {
    this.#bytes = new Uint8Array(buffer);
  }
  write(value: string, offset: number): number {
    return this.#encoder.encodeInto(value, this.#bytes.subarray(offset)).written;
  }
  writeWide(value: string, offset: number): void {
    const units = new Uint16Array(this.#bytes.buffer, offset, value.length);
    for (let index = 0; index < value.length; index++) units[index] = value.charCodeAt(index);
  }
  latin1(offset: number, end: number): string {
    // The web's "latin1" is windows-1252: a unit a byte as well, and the same below 0x80.
    return this.#latin1.decode(this.#bytes.subarray(offset, end));
  }
  wide(offset: number, end: number): string {
    return this.#utf16.decode(this.#bytes.subarray(offset, end));
  }
  utf8(offset: number, end: number): string {
    return this.#decoder.decode(this.#bytes.subarray(offset, end));
  }
}

/** The fastest means that this platform has. */
export function textBytes(buffer: ArrayBuffer): TextBytes {
  if (typeof Buffer === "function") {
    const bytes = Buffer.from(buffer) as unknown as NodeBytes;
    const hasAll =
      typeof bytes.utf8Write === "function" &&
      typeof bytes.ucs2Write === "function" &&
      typeof bytes.latin1Slice === "function" &&
      typeof bytes.ucs2Slice === "function" &&
      typeof bytes.utf8Slice === "function";
    if (hasAll) return new NodeText(bytes);
  }
  return new WebText(buffer);
}

/** Up to here a lone string is made from its codes: cheaper than a call into the runtime. */
export const CODES_SIZE_MAX = 12;

/** The string of `size` bytes, at most CODES_SIZE_MAX, each a unit. */
export function textOfCodes(b: Uint8Array, at: number, size: number): string {
  // Spelled out, for V8 makes a call with so many arguments without a call into the runtime.
  switch (size) {
    case 1:
      return String.fromCharCode(b[at]);
    case 2:
      return String.fromCharCode(b[at], b[at + 1]);
    case 3:
      return String.fromCharCode(b[at], b[at + 1], b[at + 2]);
    case 4:
      return String.fromCharCode(b[at], b[at + 1], b[at + 2], b[at + 3]);
    case 5:
      return String.fromCharCode(b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4]);
    case 6:
      return String.fromCharCode(b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5]);
    case 7:
      return String.fromCharCode(
        b[at],
        b[at + 1],
        b[at + 2],
        b[at + 3],
        b[at + 4],
        b[at + 5],
        b[at + 6],
      );
    case 8:
      return String.fromCharCode(
        b[at],
        b[at + 1],
        b[at + 2],
        b[at + 3],
        b[at + 4],
        b[at + 5],
        b[at + 6],
        b[at + 7],
      );
    case 9:
      return String.fromCharCode(
        b[at],
        b[at + 1],
        b[at + 2],
        b[at + 3],
        b[at + 4],
        b[at + 5],
        b[at + 6],
        b[at + 7],
        b[at + 8],
      );
    case 10:
      return String.fromCharCode(
        b[at],
        b[at + 1],
        b[at + 2],
        b[at + 3],
        b[at + 4],
        b[at + 5],
        b[at + 6],
        b[at + 7],
        b[at + 8],
        b[at + 9],
      );
    case 11:
      return String.fromCharCode(
        b[at],
        b[at + 1],
        b[at + 2],
        b[at + 3],
        b[at + 4],
        b[at + 5],
        b[at + 6],
        b[at + 7],
        b[at + 8],
        b[at + 9],
        b[at + 10],
      );
    case 12:
      return String.fromCharCode(
        b[at],
        b[at + 1],
        b[at + 2],
        b[at + 3],
        b[at + 4],
        b[at + 5],
        b[at + 6],
        b[at + 7],
        b[at + 8],
        b[at + 9],
        b[at + 10],
        b[at + 11],
      );
    default:
      return "";
  }
}
