import { unlinkSync, writeFileSync } from "node:fs";
import { Argument, type Command } from "commander";
import {
  formatKey,
  formatPublicKey,
  formatServiceKey,
  generateKey,
  generateServiceKey,
} from "../codec/index.js";
import { generateCurveKeys } from "../index.js";
import { formatCurveKeys, formatCurvePublicKey } from "./curve-file.js";
import { messageOf, newCommand, UsageError } from "./program.js";

interface KeysFlags {
  out?: string;
  service?: boolean;
  curve?: boolean;
}

/** `wasmq keys new`. */
export function keysCommand(title: string): Command {
  return newCommand("keys", title)
    .description("make a key: for bodies, or for connections")
    .addArgument(new Argument("<action>", "what to do").choices(["new"]))
    .option(
      "--service",
      "a key pair of a service: for its workers the secret half, for clients the public one",
    )
    .option("--curve", "a CURVE key pair of a broker, client or worker: for connections, in Z85")
    .option(
      "--out <file>",
      "write it to a new file that only its owner can read; a public half to <file>.pub",
    )
    .action((_action: string, flags: KeysFlags) => newOf(flags));
}

async function newOf({ service = false, curve = false, out }: KeysFlags): Promise<void> {
  if (service && curve) throw new UsageError("--service or --curve: one key is not both");
  if (curve) return newCurveKeys(out);
  return service ? newServiceKey(out) : newKey(out);
}

function newCurveKeys(path: string | undefined): void {
  const keys = generateCurveKeys();
  if (path === undefined) {
    process.stdout.write(`${formatCurveKeys(keys)}\n`);
    return;
  }
  writePair(path, formatCurveKeys(keys), formatCurvePublicKey(keys.publicKey));
  const { publicKey } = keys;
  process.stdout.write(
    `CURVE key ${publicKey} written to ${path}, its public half to ${path}.pub\n`,
  );
}

async function newKey(path: string | undefined): Promise<void> {
  const key = await generateKey();
  const token = formatKey(key);
  if (path === undefined) {
    process.stdout.write(`${token}\n`);
    return;
  }
  writeNew(path, token, 0o600);
  process.stdout.write(`key ${key.idText} written to ${path}\n`);
}

async function newServiceKey(path: string | undefined): Promise<void> {
  const key = await generateServiceKey();
  const token = formatServiceKey(key);
  const publicToken = formatPublicKey(key.publicKey);
  if (path === undefined) {
    process.stdout.write(`${token}\n${publicToken}\n`);
    return;
  }
  writePair(path, token, publicToken);
  process.stdout.write(
    `service key ${key.idText} written to ${path}, its public key to ${path}.pub\n`,
  );
}

/** The secret to `path`, what is public to `path`.pub. */
function writePair(path: string, token: string, publicToken: string): void {
  // The public half first: it is the one that may be taken back when the other cannot be written.
  const publicPath = `${path}.pub`;
  writeNew(publicPath, publicToken, 0o644);
  try {
    writeNew(path, token, 0o600);
  } catch (error) {
    unlinkSync(publicPath);
    throw error;
  }
}

function writeNew(path: string, token: string, mode: number): void {
  try {
    // Exclusive: no moment between a look and the write in which a key could be lost.
    writeFileSync(path, `${token}\n`, { flag: "wx", mode });
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === "EEXIST";
    throw new UsageError(
      isThere ? `${path} exists and is not overwritten` : `cannot write ${messageOf(error)}`,
    );
  }
}
