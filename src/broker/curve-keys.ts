import { generateKeyPairSync } from "node:crypto";
import { encodeZ85 } from "../base/z85.js";

/** A CURVE key pair, each half 40 characters of Z85. */
export interface CurveKeyPair {
  publicKey: string;
  secretKey: string;
}

/** A new key pair, of OpenSSL's random numbers: CURVE's keys are those of X25519. */
export function generateCurveKeys(): CurveKeyPair {
  const { x, d } = generateKeyPairSync("x25519").privateKey.export({ format: "jwk" });
  return { publicKey: z85Of(x as string), secretKey: z85Of(d as string) };
}

function z85Of(text: string): string {
  return encodeZ85(Buffer.from(text, "base64url"));
}
