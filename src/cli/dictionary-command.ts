import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Command } from "commander";
import {
  type Codec,
  createCodec,
  type Dictionary,
  exportDictionary,
  importDictionary,
  trainDictionary,
} from "../codec/index.js";
import { readDictionary } from "./dictionary-file.js";
import { messageOf, newCommand, UsageError, wholeNumberFlag } from "./program.js";

const HELP = `
train takes FILES as samples: each file is one, a .json file as the MessagePack of its value, which is
what is compressed; any other as its bytes. With --lines each line of each file is JSON, and one
sample. A fifth of the samples is kept back; what the dictionary saves on them is what it prints.
The dictionary holds parts of the samples in clear: keep it as you keep them.`;

const SIZE_DEFAULT = 16_384;
/** One sample in so many is not trained on. */
const HELD_OUT_EVERY = 5;
const SAMPLES_MIN = 10;
/** A year's log is not read into memory. */
const FILE_SIZE_MAX = 256 * 1024 * 1024;

interface TrainFlags {
  size?: number;
  out?: string;
  lines?: boolean;
}

/** `wasmq dictionary train FILES...` and `wasmq dictionary show FILE`. */
export function dictionaryCommand(title: string): Command {
  const command = newCommand("dictionary", title)
    .description("make a dictionary for small bodies, or show one")
    .helpCommand(false);
  command.addCommand(
    newCommand("train", `${title} train`)
      .description("make a dictionary of samples")
      .argument("<files...>", "samples")
      .option("--lines", "each line of a file is JSON, and one sample")
      .option(
        "--size <bytes>",
        `the most bytes of it, 256..65536 (default ${SIZE_DEFAULT})`,
        wholeNumberFlag("--size", 256, 65_536),
      )
      .option("--out <file>", "write it to a new file that only its owner can read")
      .addHelpText("after", HELP)
      .action(train),
  );
  command.addCommand(
    newCommand("show", `${title} show`)
      .description("print a dictionary's digest and size")
      .argument("<file>", "a dictionary")
      .action(show),
  );
  return command;
}

async function show(path: string): Promise<void> {
  const { digestText, size } = await readDictionary(path);
  process.stdout.write(`dictionary ${digestText}, ${size} bytes\n`);
}

async function train(paths: string[], flags: TrainFlags): Promise<void> {
  if (flags.out !== undefined) mayBeNew(flags.out);
  const codec = await createCodec();
  const samples = paths.flatMap((path) => readSamples(path, flags.lines === true, codec));
  if (samples.length < SAMPLES_MIN) {
    const hint = flags.lines === true ? "" : "; with --lines each line of a file is one";
    throw new UsageError(`${SAMPLES_MIN} samples or more are needed, got ${samples.length}${hint}`);
  }
  const isHeldOut = (index: number) => index % HELD_OUT_EVERY === HELD_OUT_EVERY - 1;
  const trained = samples.filter((_, index) => !isHeldOut(index));
  const heldOut = samples.filter((_, index) => isHeldOut(index));
  const size = flags.size ?? SIZE_DEFAULT;
  const dictionary = await trainDictionary(trained, { size });
  process.stdout.write(`dictionary ${dictionary.digestText}, ${dictionary.size} bytes\n`);
  process.stdout.write(`made of ${trained.length} samples; of ${heldOut.length} others:\n`);
  process.stdout.write(await reportOn(heldOut, dictionary, lastOf(trained, size)));
  if (flags.out === undefined) {
    process.stdout.write("not written: --out names a file\n");
    return;
  }
  writeNew(flags.out, exportDictionary(dictionary));
  process.stdout.write(`written to ${flags.out}\n`);
}

function readSamples(path: string, isLines: boolean, codec: Codec): Uint8Array[] {
  let bytes: Uint8Array;
  try {
    const { size } = statSync(path);
    if (size > FILE_SIZE_MAX) throw new Error(`${size} bytes are more than ${FILE_SIZE_MAX}`);
    bytes = readFileSync(path);
  } catch (error) {
    throw new UsageError(`sample ${path}: ${messageOf(error)}`);
  }
  if (!isLines && !path.endsWith(".json")) return [bytes];
  const text = Buffer.from(bytes).toString();
  const pack = (json: string, where: string) => {
    try {
      return codec.pack(JSON.parse(json));
    } catch (error) {
      throw new UsageError(`sample ${path}${where}: ${messageOf(error)}`);
    }
  };
  if (!isLines) return [pack(text, "")];
  return text
    .split("\n")
    .flatMap((line, index) => (line.trim() === "" ? [] : [pack(line, `, line ${index + 1}`)]));
}

/** The last bytes of the samples: what anyone would take for a dictionary without training. */
function lastOf(samples: readonly Uint8Array[], size: number): Uint8Array {
  const all = Buffer.concat(samples);
  return all.subarray(Math.max(0, all.length - size));
}

async function reportOn(
  samples: readonly Uint8Array[],
  dictionary: Dictionary,
  last: Uint8Array,
): Promise<string> {
  const plain = samples.reduce((sum, { length }) => sum + length, 0);
  const line = (name: string, bytes: number) => {
    const ratio = `${(plain / Math.max(1, bytes)).toFixed(2)}x`;
    return `  ${name.padEnd(36)} ${String(bytes).padStart(10)} bytes ${ratio.padStart(7)}\n`;
  };
  let text = line("as MessagePack, or as they are", plain);
  text += line("compressed, no dictionary", await sizeWith(samples));
  text += line("compressed with the dictionary", await sizeWith(samples, dictionary));
  if (last.length >= 8) {
    const untrained = await importDictionary(last);
    text += line("with the samples' last bytes instead", await sizeWith(samples, untrained));
  }
  return text;
}

/** Bytes of the bodies that go out: each compressed where that makes it smaller. */
async function sizeWith(samples: readonly Uint8Array[], dictionary?: Dictionary): Promise<number> {
  const codec = await createCodec({ dictionaries: dictionary && [dictionary] });
  const options = { dictionary: dictionary?.digestText };
  let size = 0;
  for (const sample of samples) {
    size += Math.min(sample.length, codec.compress(sample, options).length);
  }
  return size;
}

/** Now, and not after minutes of training. */
function mayBeNew(path: string): void {
  if (existsSync(path)) throw new UsageError(`${path} exists and is not overwritten`);
  if (!existsSync(dirname(path))) throw new UsageError(`there is no folder ${dirname(path)}`);
}

function writeNew(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes, { flag: "wx", mode: 0o600 });
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === "EEXIST";
    throw new UsageError(
      isThere ? `${path} exists and is not overwritten` : `cannot write ${messageOf(error)}`,
    );
  }
}
