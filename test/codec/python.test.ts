import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type CodecContext,
  createCodec,
  formatKey,
  generateKey,
  parseKey,
} from "../../build/codec/index.js";
import { families } from "./families.js";
import { type ContextVector, contextOf, hex, toHex } from "./support.js";

// examples/python opens what we seal and seals what we open, where Python and its packages are
// there. WASMQ_REQUIRE_PYTHON=1 makes their absence a failure; WASMQ_PYTHON names an interpreter.
const root = fileURLToPath(new URL("../..", import.meta.url));
const example = join(root, "examples/python/wasmq_codec.py");
const driver = join(root, "test/codec/python/driver.py");
const vectors = JSON.parse(readFileSync(join(root, "test/vectors/codec.json"), "utf8"));

const PACKAGES = ["nacl", "msgpack", "lz4.block"];
const LOOK = `import importlib
for name in ${JSON.stringify(PACKAGES)}:
    try: importlib.import_module(name)
    except ImportError: print(name)`;

/** What an interpreter lacks, or that there is none. */
function lackOf(command: string): string[] {
  const { status, stdout } = spawnSync(command, ["-c", LOOK], { encoding: "utf8" });
  return status === 0 ? stdout.split("\n").filter((name) => name !== "") : [command];
}

const named = process.env.WASMQ_PYTHON;
// The first of the path may be one that the packages of the system are not for.
const candidates = named === undefined ? ["python3", "/usr/bin/python3"] : [named];
const python = candidates.find((command) => lackOf(command).length === 0);
const isRequired = process.env.WASMQ_REQUIRE_PYTHON === "1";
const lacking = python === undefined ? lackOf(candidates.at(-1)!).join(", ") : "";

test("docs/codec.md shows the example as it is", () => {
  const [program] = readFileSync(example, "utf8").split("\n# The command line");
  const docs = readFileSync(join(root, "docs/codec.md"), "utf8");
  expect(/```python\n(.*?)```/s.exec(docs)?.[1]).toBe(program);
});

if (python === undefined) {
  test.skipIf(!isRequired)(`the Python example: there is no ${lacking}`, () => {
    expect.unreachable(`WASMQ_REQUIRE_PYTHON=1, and Python lacks ${lacking}`);
  });
}

interface Job {
  op: "open" | "seal";
  context: CodecContext;
  bytes: Uint8Array;
}

interface Answer {
  bytes?: string;
  code?: string;
}

/** What the example answers to each of the jobs. */
function ask(keyTexts: string[], jobs: Job[]): Answer[] {
  const dictionary = vectors.dictionary.bytes;
  const lines = jobs.map(({ op, context, bytes }) => {
    const { service, direction, requestId, headers = new Uint8Array() } = context;
    const id = toHex(requestId);
    return JSON.stringify({
      op,
      service,
      direction,
      id,
      headers: toHex(headers),
      bytes: toHex(bytes),
      dictionary,
    });
  });
  const args = [driver, join(root, "examples/python"), ...keyTexts];
  const { status, stdout, stderr } = spawnSync(python!, args, {
    input: lines.join("\n"),
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  expect(status, stderr).toBe(0);
  const answers = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(answers).toHaveLength(jobs.length);
  return answers;
}

interface Vector {
  name: string;
  code?: string;
  value?: unknown;
  isSealed?: boolean;
  context: ContextVector;
  envelope: string;
}

describe.skipIf(python === undefined)("the Python example", () => {
  test("opens and refuses the vectors as we do", async () => {
    const all: Vector[] = [...vectors.opens, ...vectors.refusals];
    const answers = ask(
      [vectors.key.text],
      all.map(({ context, envelope }) => ({
        op: "open",
        context: contextOf(context),
        bytes: hex(envelope),
      })),
    );
    const codec = await createCodec();
    const outcomes = answers.map(({ bytes, code }, index) => ({
      name: all[index].name,
      outcome: code ?? codec.unpack(hex(bytes!)),
    }));
    expect(outcomes).toEqual(
      all.map(({ name, code, value, isSealed }) => {
        // Its MessagePack library has reasons of its own.
        if (code === "RESERVED_BYTE") return { name, outcome: "NOT_MESSAGEPACK" };
        // The example holds a key, as a codec does for the vectors that are refused.
        return { name, outcome: code ?? (isSealed ? value : "UNSEALED") };
      }),
    );
  });

  test.each([
    ["small enough to go uncompressed", families.filter(([name]) => name === "tiny")],
    ["of all families", families],
  ])("opens what we seal and seals what we open: values %s", async (_, chosen) => {
    const key = await generateKey();
    const codec = await createCodec({ keys: [key] });
    const values = chosen.flatMap(([, some]) => some.slice(0, 4));
    const contexts = values.map((_, index): CodecContext => {
      const requestId = crypto.getRandomValues(new Uint8Array(16));
      const direction = index % 2 === 0 ? "request" : "reply";
      return { service: "价格.é", direction, requestId, headers: new Uint8Array(index % 3) };
    });
    const jobs = values.map((value, index): Job[] => [
      { op: "open", context: contexts[index], bytes: codec.seal(value, contexts[index]) },
      { op: "seal", context: contexts[index], bytes: codec.pack(value) },
    ]);
    const answers = ask([formatKey(key)], jobs.flat());
    const flags = new Set<number>();
    for (const [index, value] of values.entries()) {
      const packed = toHex(codec.pack(value));
      const [opened, sealed] = answers.slice(index * 2);
      expect(toHex(codec.pack(codec.unpack(hex(opened.bytes!))))).toBe(packed);
      const envelope = hex(sealed.bytes!);
      flags.add(envelope[1]);
      expect(toHex(codec.pack(codec.open(envelope, contexts[index])))).toBe(packed);
    }
    // SEALED alone, and COMPRESSED too.
    expect([...flags].sort()).toEqual(chosen.length === 1 ? [2] : [2, 3]);
  });

  test("its keys are ours, and a key with another's id is refused", async () => {
    const key = await parseKey(vectors.key.text);
    const other = formatKey(key).replace(key.idText, "00000001");
    const args = [driver, join(root, "examples/python"), other];
    const { status, stderr } = spawnSync(python!, args, { input: "", encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toContain("Refused: KEY_INVALID");
  });

  test("its command line opens, seals and refuses", async () => {
    const folder = mkdtempSync(join(tmpdir(), "wasmq-python-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "keys");
    const key = await generateKey();
    writeFileSync(file, `# ours\n${formatKey(key)} # since today\n`);
    const codec = await createCodec({ keys: [key] });
    const context = { service: "a", direction: "reply", requestId: new Uint8Array(16) } as const;
    const run = (action: string, input: string | Uint8Array, id = "00".repeat(16)) =>
      spawnSync(
        python!,
        [example, action, "--keys", file, "--service", "a", "--direction", "reply", "--id", id],
        { input },
      );

    const opened = run("open", codec.seal({ sku: "é", bytes: new Uint8Array([1, 255]) }, context));
    expect(String(opened.stdout)).toBe('{"sku": "é", "bytes": "01ff"}\n');
    const sealed = run("seal", '{"total": 59.97}');
    expect(codec.open(sealed.stdout, context)).toEqual({ total: 59.97 });

    const swapped = run("open", codec.seal(1, context), "11".repeat(16));
    expect([swapped.status, String(swapped.stderr)]).toEqual([1, "refused: SWAPPED\n"]);
    const short = run("open", "", "11");
    expect([short.status, String(short.stderr)]).toEqual([
      2,
      expect.stringContaining("--id must be 16 bytes, got 1"),
    ]);
  });
});
