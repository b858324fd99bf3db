import { existsSync, readFileSync } from "node:fs";
import { isCurveKey } from "../base/check.js";
import type { CurveKeyPair } from "../broker/curve-keys.js";
import type { CurveKeys } from "../index.js";
import { messageOf, UsageError } from "./program.js";

/** A key pair as text. Z85 has a # among its digits: a comment is a line that begins with one. */
export function formatCurveKeys({ publicKey, secretKey }: CurveKeyPair): string {
  return `# CURVE key pair: the secret half is for its owner alone\npublic ${publicKey}\nsecret ${secretKey}`;
}

/** The public half as text. */
export function formatCurvePublicKey(publicKey: string): string {
  return `public ${publicKey}`;
}

/** The key pair in the file that the flag or WASMQ_CURVE_KEY names; undefined where neither does. */
export function curvePairFrom(flag: string | undefined): CurveKeyPair | undefined {
  const path = flag ?? (process.env.WASMQ_CURVE_KEY || undefined);
  if (path === undefined) return undefined;
  const halves = readHalves("curve key", path);
  const { public: publicKey, secret: secretKey } = halves;
  if (publicKey === undefined || secretKey === undefined) {
    throw new UsageError(
      `curve key file ${path}: must hold a line "public KEY" and a "secret KEY"`,
    );
  }
  return { publicKey, secretKey };
}

/**
 * Its own key pair and the broker's public key, as flags or environment give them; undefined where they
 * give neither.
 */
export function curveKeysFrom(flags: {
  curveKey?: string;
  serverKey?: string;
}): CurveKeys | undefined {
  const pair = curvePairFrom(flags.curveKey);
  const server = flags.serverKey ?? (process.env.WASMQ_SERVER_KEY || undefined);
  if (pair === undefined && server === undefined) return undefined;
  if (pair === undefined) throw new UsageError("--server-key needs --curve-key: its own key pair");
  if (server === undefined) {
    throw new UsageError("--curve-key needs --server-key: the broker's public key");
  }
  return { ...pair, serverKey: serverKeyOf(server) };
}

/** A public key, or that in the file of this name. */
function serverKeyOf(value: string): string {
  if (isCurveKey(value)) return value;
  const { public: publicKey } = readHalves("server key", value);
  if (publicKey !== undefined) return publicKey;
  throw new UsageError(`server key file ${value}: holds no line "public KEY"`);
}

/** `what`: not the flag, since environment or config file may have named it too. */
function readHalves(
  what: "curve key" | "server key",
  path: string,
): { public?: string; secret?: string } {
  if (!existsSync(path)) {
    throw new UsageError(
      `${what} must be a file${what === "server key" ? " or a key" : ""}, got ${JSON.stringify(path)}`,
    );
  }
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`${what} file ${path}: cannot be read: ${messageOf(error)}`);
  }
  const halves: Record<string, string> = {};
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const [, half, key] = /^(public|secret)\s+(\S+)\s*$/.exec(line) ?? [];
    // Not with what is on the line: it may be a secret.
    if (half === undefined || !isCurveKey(key)) {
      throw new UsageError(
        `${what} file ${path}, line ${index + 1}: not "public KEY" or "secret KEY"`,
      );
    }
    halves[half] = key;
  }
  return halves;
}
