import { ExtData } from "../codec/index.js";
import { printableJson } from "./printable.js";

/**
 * A reply as one line of JSON. What JSON has no form for is a string, as in protobuf's JSON:
 * BigInt in decimal digits, bytes in base64, NaN and infinities by name, a Date in ISO 8601.
 */
export function jsonText(value: unknown): string {
  return printableJson(JSON.stringify(value, asJson) ?? "null");
}

function asJson(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (value instanceof Uint8Array) return base64(value);
  if (value instanceof ExtData) return { ext: value.type, data: base64(value.data) };
  return value;
}

function base64({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, length).toString("base64");
}
