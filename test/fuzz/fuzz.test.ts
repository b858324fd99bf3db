import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { createCodec } from "../../build/codec/index.js";
import type { LinearMemory } from "../../build/codec/linear-memory.js";
import { Running } from "../cli/processes.js";
import { CONTEXT } from "./envelopes.mjs";
import { TARGETS } from "./inputs.mjs";
import { FuzzFailure, fuzz, replay } from "./run.mjs";

// A short run of `npm run fuzz`; a failure's message has the seed, the input and how to replay it.
const INPUTS = 12_000;
const script = join(fileURLToPath(new URL("../..", import.meta.url)), "scripts/fuzz.mjs");

describe("hostile input: an error or a valid value, memory as it was, all codecs agreed", () => {
  test.each([
    ["of seed 1", 1],
    ["of a seed of its own", Date.now() % 2 ** 32],
  ])("%s", async (_, seed) => {
    const report = await fuzz({ seed, inputs: INPUTS });
    expect(report.inputs).toBe(INPUTS);
    expect(Object.keys(report.outcomes).sort()).toEqual([...TARGETS].sort());
    for (const [target, counts] of Object.entries(report.outcomes)) {
      // Neither so wild that the first check refuses all, nor so tame that all is well.
      const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
      expect(total, target).toBeGreaterThan(INPUTS / 10);
      expect(counts.value, target).toBeGreaterThan(total / 10);
      expect(counts.value, target).toBeLessThan(total * 0.9);
    }
    // 6 codecs of 1.6 MiB: none may grow, which each call checks.
    expect(report.linearSize).toBeLessThan(16 * 1024 * 1024);
    expect(report.heapSize).toBeLessThanOrEqual(16 * 1024 * 1024);
  });

  test("every cause of refusal is met", async () => {
    const { outcomes } = await fuzz({ seed: 1, inputs: INPUTS, targets: ["open"] });
    const codes =
      "TRUNCATED BAD_VERSION BAD_FLAGS TOO_LARGE UNSEALED UNKNOWN_KEY REDIRECTED SWAPPED TAMPERED REPLAYED STALE BAD_COUNTER BAD_BLOCK SIZE_MISMATCH TRAILING_BYTES RESERVED_BYTE BAD_KEY BAD_TIMESTAMP TOO_DEEP value";
    expect(Object.keys(outcomes.open).sort()).toEqual(codes.split(" ").sort());
  });
});

test("a block in clear that names a dictionary is refused by that name (seed 88142671, input 1682)", async () => {
  const codec = await createCodec();
  const bytes = Buffer.from("0109000002000000383d4e3388e2cece0000000020e2cece0000000020", "hex");
  expect(() => codec.open(bytes, CONTEXT)).toThrow(
    "UNKNOWN_DICTIONARY: compressed with 00000000cecee220, dictionaries held: none",
  );
  codec.close();
});

test("the same seed makes the same inputs and outcomes, another one others", async () => {
  const digestOf = async (seed: number) => (await fuzz({ seed, inputs: 3000 })).digest;
  const digest = await digestOf(7);
  expect(await digestOf(7)).toBe(digest);
  expect(await digestOf(8)).not.toBe(digest);
});

/** A module whose `name` is what `make` makes of it. */
function planted<Name extends "parse" | "decompress">(
  name: Name,
  make: (memory: LinearMemory, run: LinearMemory["exports"][Name]) => LinearMemory["exports"][Name],
) {
  return (memory: LinearMemory) => {
    memory.exports = { ...memory.exports, [name]: make(memory, memory.exports[name]) };
  };
}

type Decompress = LinearMemory["exports"]["decompress"];

/** A decompressor that also writes somewhere. */
function writing(at: (...areas: Parameters<Decompress>) => number) {
  return planted("decompress", (memory, decompress) => (...areas) => {
    const size = decompress(...areas);
    memory.u8[at(...areas)] = 0x77;
    return size;
  });
}

describe("a planted bug is found", () => {
  const bugs: [string, (memory: LinearMemory) => void, RegExp][] = [
    [
      "a byte written in front of the plain bytes",
      writing((_, __, target) => target - 1),
      /wrote 0x77 at \d+, before the areas/,
    ],
    [
      "a byte written behind the plain bytes",
      writing((_, __, target, targetSize) => target + targetSize + 16),
      /wrote 0x77 at \d+, between plain bytes and block/,
    ],
    [
      "a byte written behind the block",
      writing((source, size) => source + size),
      /wrote 0x77 at \d+, in the slack behind the block/,
    ],
    [
      "a byte written far away, once in a while",
      planted("decompress", (memory, decompress) => (...areas) => {
        const size = decompress(...areas);
        if (size > 0 && size % 50 === 0) memory.u8[memory.u8.length - 5] = 0x77;
        return size;
      }),
      /wrote 0x77 at \d+, far from the areas[\s\S]*input \d+, target/,
    ],
    [
      "a byte read from behind the block",
      planted("decompress", (memory, decompress) => (source, size, target, targetSize) => {
        const result = decompress(source, size, target, targetSize);
        if (result > 100) memory.u8[target + 50] = memory.u8[source + size];
        return result;
      }),
      /codec 1 gives another outcome than codec 0: value, value/,
    ],
    [
      "a byte read from behind the message",
      planted("parse", (memory, parse) => (offset, size, depthMax) => {
        const result = parse(offset, size, depthMax);
        // Behind the tape's head: the kind INT, and one is made of what follows.
        const at = (result >> 2) + 4;
        if (result > 0 && memory.i32[at] === 3) memory.i32[at + 1] = memory.u8[offset + size];
        return result;
      }),
      /codec 1 gives another outcome than codec 0/,
    ],
    [
      "a trap",
      planted("parse", (_, parse) => (offset, size, depthMax) => {
        if (size === 33) throw new Error("RuntimeError: unreachable");
        return parse(offset, size, depthMax);
      }),
      /RuntimeError: unreachable/,
    ],
    [
      "memory that grows",
      planted("parse", (memory, parse) => (offset, size, depthMax) => {
        if (size === 33) memory.exports.memory.grow(1);
        return parse(offset, size, depthMax);
      }),
      /linear memory went from \d+ to \d+ bytes/,
    ],
  ];

  test.each(bugs)("%s", async (_, plant, message) => {
    const failure: FuzzFailure = await fuzz({ seed: 3, inputs: INPUTS, plant }).then(
      () => expect.unreachable("nothing was found"),
      (error) => error,
    );
    expect(failure).toBeInstanceOf(FuzzFailure);
    expect(failure.message).toMatch(message);
    expect(failure.message).toMatch(
      /seed 3, input \d+, target \S+, \d+ bytes\nreplay: npm run fuzz/,
    );
    expect(failure.message).toContain(`--target ${failure.target} --replay ${failure.hex}`);
    expect(failure.message).toMatch(/\nreplay with all before it: .* --seed 3 --inputs \d+$/);
    // It is the bug that was found: without it the input does no harm.
    const { inputs } = await replay(failure.target, Buffer.from(failure.hex, "hex"));
    expect(inputs).toBe(1);
  });
});

describe("npm run fuzz", () => {
  const run = (...args: string[]) => new Running(process.execPath, [script, ...args]).ended;

  test("counts, digest and memory, the same each time", async () => {
    const first = await run("--inputs", "2000", "--seed", "7");
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout).toMatch(/^seed 7\n/);
    expect(first.stdout).toMatch(/\nunpack: value \d+/);
    expect(first.stdout).toMatch(
      /\n2000 inputs: RSS \d+ KiB, JavaScript \d+ KiB, WASM \d+ KiB, libsodium \d+ KiB\n/,
    );
    const digest = /\ndigest [0-9a-f]{8}\n$/.exec(first.stdout)?.[0];
    expect(digest).toBeDefined();
    expect((await run("--inputs", "2000", "--seed", "7")).stdout).toContain(digest);
  });

  test("one input again", async () => {
    const ended = await run("--target", "unpack", "--replay", "c1");
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining("RESERVED_BYTE 1\n") });
  });

  test.each([
    [["--target", "pack"], "--target must be one of"],
    [["--replay", "c1"], "--replay goes with --target"],
    [["--target", "unpack", "--replay", "c"], "--replay must be hexadecimal, got c"],
    [["--seconds=-1"], "--seconds must be 0..86400, got -1"],
    [["--what"], "Unknown option '--what'"],
    [["--seed", "x"], "--seed must be 0..4294967295, got x"],
  ])("%j is refused", async (args, message) => {
    const ended = await run(...args);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain(message);
  });
});
