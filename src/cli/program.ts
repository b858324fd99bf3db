import { Command, CommanderError } from "commander";
import { printable } from "./printable.js";

/** What the user got wrong, or cannot have: one line on stderr, then those of `detail`; exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";

  constructor(
    message: string,
    readonly detail = "",
  ) {
    super(message);
  }
}

export const USAGE_EXIT = 2;

/**
 * `text` without its line breaks: whoever reads stderr by lines gets one per error. Others may have
 * written it: a worker's handler, a broker.
 */
export function oneLine(text: string): string {
  return printable(text.trim().replace(/\s*[\r\n]+\s*|\t/g, " "));
}

/** A line as it stands, indented by spaces alone. */
function printableLine(line: string): string {
  return printable(line.replaceAll("\t", " "));
}

/** What a caught error says, in one line. */
export function messageOf(error: unknown): string {
  return oneLine(error instanceof Error ? error.message : String(error));
}

export { packageVersion } from "../admin/version.js";

/** A command that says what is wrong in one line that begins with `title`, and never exits. */
export function newCommand(name: string, title: string): Command {
  return new Command(name)
    .exitOverride()
    .helpOption("-h, --help", "show this help")
    .configureOutput({
      // Who has read enough of the help closes the pipe, as `head` does: no bug of anyone's.
      writeOut: (text) => process.stdout.on("error", () => {}).write(text),
      outputError: (text, write) =>
        write(`${title}: ${oneLine(text).replace(/^error: |\.$/g, "")}; see ${title} --help\n`),
    });
}

/** Collects an option that may be given several times. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

/** The values of a comma-separated environment variable; undefined where it is unset or empty. */
export function listFromEnv(text: string | undefined): string[] | undefined {
  const values = (text ?? "").split(",").map((value) => value.trim());
  const given = values.filter((value) => value !== "");
  return given.length === 0 ? undefined : given;
}

/** The longest that a drain may be told to take: a day. */
export const DRAIN_TIMEOUT_MS_MAX = 86_400_000;

/** Reads a flag that is a whole number; `other` says what else it may be. */
export function wholeNumberFlag(flag: string, least: number, most: number, other = "") {
  return (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new UsageError(
      `${flag} must be a whole number ${least}..${most}${other}, got ${JSON.stringify(text)}`,
    );
  };
}

/**
 * Parses the arguments and does what they say. Wrong usage is one line on stderr and exit code 2;
 * any other error that comes out is a bug and shows its stack.
 */
export async function runProgram(program: Command, title: string): Promise<void> {
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      // What there was to say is printed: help, the version, or one line.
      process.exitCode = error.exitCode === 0 ? 0 : USAGE_EXIT;
    } else if (error instanceof UsageError) {
      const lines = error.detail === "" ? [] : error.detail.split("\n").map(printableLine);
      process.stderr.write(`${[`${title}: ${oneLine(error.message)}`, ...lines].join("\n")}\n`);
      process.exitCode = USAGE_EXIT;
    } else {
      throw error;
    }
  }
}
