import type { EventOfType } from "zeromq";
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

type HandshakeError =
  | EventOfType<"handshake:error:protocol">
  | EventOfType<"handshake:error:auth">
  | EventOfType<"handshake:error:other">;

/** Why a handshake failed, in words; UNAUTHENTICATED in front where the broker said so. */
export function handshakeFailure(event: HandshakeError, curve: CurveKeys | undefined): string {
  switch (event.type) {
    case "handshake:error:auth":
      return `UNAUTHENTICATED: the broker does not let in ${curve?.publicKey ?? "those without a key"}`;
    case "handshake:error:protocol": {
      const { code } = event.error as NodeJS.ErrnoException;
      if (code !== "ERR_ZMTP_MECHANISM_MISMATCH") return `handshake failed (${code})`;
      return curve === undefined
        ? "UNAUTHENTICATED: the broker wants CURVE, and no keys are given"
        : "the broker does not use CURVE, and keys are given";
    }
    case "handshake:error:other":
      return curve === undefined
        ? "the broker closed the connection in the handshake"
        : "the broker closed the connection in the CURVE handshake: is serverKey its public key?";
    default:
      return event satisfies never;
  }
}
