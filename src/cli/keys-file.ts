import { readFileSync } from "node:fs";
import {
  type CodecKey,
  type PublicKey,
  parseKey,
  parsePublicKey,
  parseServiceKey,
  type ServiceKey,
} from "../codec/index.js";
import { messageOf, UsageError } from "./program.js";

/** What the tokens in a file are: a token a line, `#` begins a comment. */
async function readTokens<K>(
  what: string,
  path: string,
  parse: (token: string) => Promise<K>,
): Promise<K[]> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`${what} file ${path}: cannot be read: ${messageOf(error)}`);
  }
  const keys: K[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const token = line.replace(/#.*/, "").trim();
    if (token === "") continue;
    try {
      keys.push(await parse(token));
    } catch (error) {
      throw new UsageError(`${what} file ${path}, line ${index + 1}: ${messageOf(error)}`);
    }
  }
  // Without a key bodies would travel in clear, which whoever names a file does not want.
  if (keys.length === 0) throw new UsageError(`${what} file ${path}: holds no key`);
  return keys;
}

/** The keys of the flag or of WASMQ_KEYS; undefined where neither names a file. */
export async function keysFrom(flag: string | undefined): Promise<CodecKey[] | undefined> {
  const path = flag ?? (process.env.WASMQ_KEYS || undefined);
  return path === undefined ? undefined : readTokens("keys", path, parseKey);
}

/** A worker's service keys; undefined without the flag. */
export async function serviceKeysFrom(flag: string | undefined): Promise<ServiceKey[] | undefined> {
  return flag === undefined ? undefined : readTokens("service key", flag, parseServiceKey);
}

/** The public key of the service that is called; undefined without the flag. */
export async function publicKeyFrom(flag: string | undefined): Promise<PublicKey | undefined> {
  if (flag === undefined) return undefined;
  const keys = await readTokens("service key", flag, parsePublicKey);
  if (keys.length === 1) return keys[0];
  throw new UsageError(`service key file ${flag}: must hold one public key, holds ${keys.length}`);
}
