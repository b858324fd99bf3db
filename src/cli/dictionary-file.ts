import { readFileSync } from "node:fs";
import { type Dictionary, importDictionary } from "../codec/index.js";
import { messageOf, UsageError } from "./program.js";

/** The dictionary that a file's bytes are. */
export async function readDictionary(path: string): Promise<Dictionary> {
  try {
    return await importDictionary(readFileSync(path));
  } catch (error) {
    throw new UsageError(`dictionary ${path}: ${messageOf(error)}`);
  }
}

/** The dictionaries of the files, in their order; undefined where there are none. */
export async function dictionariesFrom(
  paths: readonly string[] | undefined,
): Promise<Dictionary[] | undefined> {
  return paths === undefined ? undefined : Promise.all(paths.map(readDictionary));
}
