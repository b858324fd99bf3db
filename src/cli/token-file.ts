import { readFileSync } from "node:fs";
import { parseAdminToken } from "../admin/address.js";
import { messageOf, UsageError } from "./program.js";

/** The token of the admin port, the only line of its file; undefined where none is named. */
export function tokenFrom(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`admin token file ${path}: cannot be read: ${messageOf(error)}`);
  }
  try {
    return parseAdminToken("the token", text.trim());
  } catch (error) {
    throw new UsageError(`admin token file ${path}: ${messageOf(error)}`);
  }
}
