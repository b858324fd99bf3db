import { writeFileSync } from "node:fs";
import { Argument, type Command } from "commander";
import { formatKey, generateKey } from "../codec/index.js";
import { messageOf, newCommand, UsageError } from "./program.js";

/** `wasmq keys new`. */
export function keysCommand(title: string): Command {
  return newCommand("keys", title)
    .description("make a key that seals and opens bodies")
    .addArgument(new Argument("<action>", "what to do").choices(["new"]))
    .option("--out <file>", "write it to a new file that only its owner can read")
    .action((_action: string, flags: { out?: string }) => newKey(flags.out));
}

async function newKey(path: string | undefined): Promise<void> {
  const key = await generateKey();
  const token = formatKey(key);
  if (path === undefined) {
    process.stdout.write(`${token}\n`);
    return;
  }
  try {
    // Exclusive: no moment between a look and the write in which a key could be lost.
    writeFileSync(path, `${token}\n`, { flag: "wx", mode: 0o600 });
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === "EEXIST";
    throw new UsageError(
      isThere ? `${path} exists and is not overwritten` : `cannot write ${messageOf(error)}`,
    );
  }
  process.stdout.write(`key ${key.idText} written to ${path}\n`);
}
