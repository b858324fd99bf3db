import { readFileSync } from "node:fs";
import { type CodecKey, parseKey } from "../codec/index.js";
import { messageOf, UsageError } from "./program.js";

/** The keys in a file: a token a line, `#` begins a comment. The first seals, all open. */
export async function readKeys(path: string): Promise<CodecKey[]> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`keys file ${path}: cannot be read: ${messageOf(error)}`);
  }
  const keys: CodecKey[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const token = line.replace(/#.*/, "").trim();
    if (token === "") continue;
    try {
      keys.push(await parseKey(token));
    } catch (error) {
      throw new UsageError(`keys file ${path}, line ${index + 1}: ${messageOf(error)}`);
    }
  }
  // Without a key bodies would travel in clear, which whoever names a file does not want.
  if (keys.length === 0) throw new UsageError(`keys file ${path}: holds no key`);
  return keys;
}

/** The keys of the flag or of WASMQ_KEYS; undefined where neither names a file. */
export async function keysFrom(flag: string | undefined): Promise<CodecKey[] | undefined> {
  const path = flag ?? (process.env.WASMQ_KEYS || undefined);
  return path === undefined ? undefined : readKeys(path);
}
