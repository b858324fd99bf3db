// Z85, the text form of CURVE keys: RFC 32, https://rfc.zeromq.org/spec/32

const DIGITS =
  "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/** 5 characters for each 4 bytes; `bytes.length` must be a multiple of 4. */
export function encodeZ85(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    let value =
      ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
    let group = "";
    for (let i = 0; i < 5; i++) {
      group = DIGITS[value % 85] + group;
      value = Math.floor(value / 85);
    }
    text += group;
  }
  return text;
}

/** The 4 bytes of each 5 characters. `text` must have been checked, as by `curveKey`. */
export function decodeZ85(text: string): Uint8Array {
  const bytes = new Uint8Array((text.length / 5) * 4);
  const view = new DataView(bytes.buffer);
  for (let group = 0; group * 5 < text.length; group++) {
    let value = 0;
    for (const digit of text.slice(group * 5, group * 5 + 5)) {
      value = value * 85 + DIGITS.indexOf(digit);
    }
    view.setUint32(group * 4, value);
  }
  return bytes;
}
