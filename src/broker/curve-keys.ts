import { curveKeyPair } from "zeromq";

/** A CURVE key pair, each half 40 characters of Z85. */
export interface CurveKeyPair {
  publicKey: string;
  secretKey: string;
}

/** A new key pair, of libsodium's random numbers. */
export function generateCurveKeys(): CurveKeyPair {
  return curveKeyPair();
}
