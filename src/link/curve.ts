import { curveKey } from "../base/check.js";

/** What a client or worker needs for CURVE, each 40 characters of Z85. */
export interface CurveKeys {
  /** Its own key pair, by which the broker knows it. */
  publicKey: string;
  secretKey: string;
  /** The broker's public key, by which it knows the broker. */
  serverKey: string;
}

/** `keys` if they are three keys; throws TypeError that names the one that is none. */
export function checkCurveKeys(keys: CurveKeys): CurveKeys {
  const { publicKey, secretKey, serverKey } = keys;
  curveKey("curve.publicKey", publicKey);
  curveKey("curve.secretKey", secretKey);
  curveKey("curve.serverKey", serverKey);
  return { publicKey, secretKey, serverKey };
}

/** These keys as the options of a ZeroMQ socket. */
export function curveOptions({ publicKey, secretKey, serverKey }: CurveKeys) {
  return { curvePublicKey: publicKey, curveSecretKey: secretKey, curveServerKey: serverKey };
}
