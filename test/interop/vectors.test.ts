// The vectors of test/vectors, run by the libraries in C and Python.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  type CodecContext,
  type CodecError,
  createCodec,
  importDictionary,
  parseKey,
} from "../../build/codec/index.js";
import { Kind } from "../../build/wire/layout.js";
import { vectorRunners } from "./kinds.js";
import { Program } from "./program.js";

const load = (name: string) =>
  JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
const wire = load("wire");
const codec = load("codec");
const dictionaries = load("dictionary");
const lz4Frames = load("lz4-frames").vectors;

const hexOf = (text: string) => Buffer.from(text, "utf8").toString("hex");
/** Runs of one byte are written `a5*8192`. */
const whole = (hex: string) => {
  const [byte, count] = hex.split("*");
  return count === undefined ? hex : byte.repeat(Number(count));
};

interface Answer {
  bytes?: string;
  code?: string;
  frames?: string[];
  records?: Record<string, unknown>[];
  bad?: number;
  isMalformed?: boolean;
}

/** What a program answers to each line, one after the other. */
async function ask(kind: string, lines: string[][]): Promise<Answer[]> {
  const program = new Program(`vectors ${kind}`, vectorRunners[kind]);
  program.end(lines.map((words) => `${words.join("\t")}\n`).join(""));
  const answers = (await program.output()).trimEnd().split("\n");
  expect(program.stderr).toBe("");
  expect(answers).toHaveLength(lines.length);
  return answers.map((answer) => JSON.parse(answer));
}

function headerBytes(headers: [string, string][]): string {
  const sized = (text: string, width: number) => {
    const bytes = Buffer.from(text, "utf8");
    const size = Buffer.alloc(width);
    size.writeUIntLE(bytes.length, 0, width);
    return Buffer.concat([size, bytes]);
  };
  const parts = headers.flatMap(([key, value]) => [sized(key, 1), sized(value, 2)]);
  return Buffer.concat(parts).toString("hex");
}

/** A record of the vectors in the programs' way: text as hex, names in snake_case. */
function shown(record: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = { flags: 0 };
  for (const [name, value] of Object.entries(record)) {
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (name === "isOneThread") out.flags = value === true ? 2 : 0;
    else if (name === "headers") out.headers = headerBytes(value as [string, string][]);
    else if (name === "services") out.services = (value as string[]).map(hexOf);
    else if (name === "body") out.body = (value as string[]).map(whole);
    else if (name === "service" || name === "reason") out[name] = hexOf(value as string);
    else out[snake] = value;
  }
  return out;
}

interface Message {
  name: string;
  frames: string[];
  records: Record<string, unknown>[];
  canonical: boolean;
}

interface Malformed {
  name: string;
  frames: string[];
  answer: { kind: string; record?: number; status: number }[];
  counted: Record<string, number>;
}

/** What the libraries speak. The patterns beside request and reply are unknown kinds to them. */
const spoken = new Set(
  "HELLO WELCOME ERROR CREDIT DRAIN BYE PING REQUEST REPLY FAILURE CANCEL".split(" "),
);
const isSpoken = ({ records }: Message) => records.every(({ kind }) => spoken.has(kind as string));
/** Workers of tasks alone say in HELLO which they take, and these libraries have none. */
const hasQueues = ({ records }: Message) => records.some(({ queues }) => queues !== undefined);
const all = wire.records as Message[];
const messages = all.filter((message) => isSpoken(message) && !hasQueues(message));

/** Those of kinds that go the other way are told by a flag, or by who sends them. */
const ORDINALS: Record<string, number> = {
  ...Kind,
  PUBLISHED: Kind.PUBLISH,
  ASK: Kind.PUBLISH,
  SUBSCRIBED: Kind.SUBSCRIBE,
  UNSUBSCRIBED: Kind.UNSUBSCRIBE,
  TAKEN: Kind.EVENT,
  DEAD_LETTERS_ASKED: Kind.DEAD_LETTERS,
};

/** What a walk tells of a record of the vectors: frames of its own, and of tasks and surveys the head and the id. */
function head(record: Record<string, unknown>, vector: Message): Record<string, unknown> {
  const ordinal = ORDINALS[record.kind as string];
  const body = (record.body ?? []) as string[];
  const isInline =
    body.length === 1 && (whole(body[0]).length < 16_384 || vector.frames.length === 1);
  const isAsFrame = vector.frames.length > 1 && vector.records.length === 1;
  const frames = isInline && !isAsFrame ? 0 : body.length;
  const out = { kind: ordinal, fits: true, frames };
  if (ordinal < Kind.PUSH) return out;
  const r = record as Record<string, never>;
  return {
    ...out,
    flags: r.flags,
    a: r.status ?? r.attempt ?? r.action ?? r.priority ?? 0,
    session: r.session,
    sequence: r.sequence,
    slot: r.slot ?? r.delayMs ?? r.count ?? r.asked,
    generation: r.generation ?? r.total ?? r.skip ?? r.missing ?? 0,
  };
}

/** Whether a batch has kinds of the patterns, `from` to 55, as far as its records can be told. */
function hasPattern(batch: string, from = 20): boolean {
  const bytes = Buffer.from(batch, "hex");
  for (let at = 8; at + 8 <= bytes.length; ) {
    if (bytes[at] >= from && bytes[at] < 56) return true;
    const size = bytes.readUInt32LE(at + 4);
    if (size < 8) return false;
    at += size;
  }
  return false;
}

describe.each(Object.keys(vectorRunners))("wire.json in %s", (kind) => {
  test("reads messages that are right", async () => {
    const lines = messages.map(({ frames }) => ["read", ...frames.map(whole)]);
    const answers = await ask(kind, lines);
    for (const [index, { name, records }] of messages.entries()) {
      const expected = { records: records.map(shown), bad: 0, isMalformed: false };
      expect({ name, ...answers[index] }).toEqual({ name, ...expected });
    }
  });

  test("passes over messages of the patterns that it does not speak", async () => {
    const others = all.filter((message) => !isSpoken(message) && message.frames.length === 1);
    expect(others).not.toEqual([]);
    const answers = await ask(
      kind,
      others.map(({ frames }) => ["read", ...frames.map(whole)]),
    );
    for (const [index, { name, records }] of others.entries()) {
      const known = records.filter((record) => spoken.has(record.kind as string)).map(shown);
      const bad = records.length - known.length;
      expect({ name, ...answers[index] }).toEqual({
        name,
        records: known,
        bad,
        isMalformed: false,
      });
    }
  });

  test("walks messages of every kind, its own or not", async () => {
    const lines = all.map(({ frames }) => ["walk", ...frames.map(whole)]);
    const answers = await ask(kind, lines);
    for (const [index, vector] of all.entries()) {
      const records = vector.records.map((record) => head(record, vector));
      const { name } = vector;
      expect({ name, ...answers[index] }).toMatchObject({ name, records, isMalformed: false });
    }
  });

  test("finds what does not fit in records of tasks and surveys", async () => {
    const ofPatterns = (wire.malformed as Malformed[]).filter(({ frames }) =>
      hasPattern(frames[0], Kind.PUSH),
    );
    expect(ofPatterns.length).toBeGreaterThan(40);
    const answers = await ask(
      kind,
      ofPatterns.map(({ frames }) => ["walk", ...frames.map(whole)]),
    );
    for (const [index, { name }] of ofPatterns.entries()) {
      const isMalformed = name.endsWith("claims a frame that is not there");
      const fits = !/too short|longer than the record/.test(name);
      expect({ name, ...answers[index] }).toMatchObject({ name, records: [{ fits }], isMalformed });
    }
  });

  test("writes what a sender writes", async () => {
    const vectors = messages.filter(({ canonical }) => canonical);
    const lines = vectors.map(({ frames }) => frames.map(whole));
    const answers = await ask(
      kind,
      lines.map((frames) => ["rewrite", ...frames]),
    );
    for (const [index, { name }] of vectors.entries()) {
      expect([name, answers[index].frames]).toEqual([name, lines[index]]);
    }
  });

  test("refuses what is malformed, as often as the broker counts", async () => {
    // Of strangers the broker reads no more, a plain message is none for us, and a client may be
    // given more credit than a worker may give.
    const vectors = (wire.malformed as Malformed[]).filter(
      ({ name, counted, frames }) =>
        counted.stranger === undefined &&
        (counted.unknown !== undefined || !hasPattern(frames[0])) &&
        frames[0] !== "" &&
        name !== "CREDIT of 65536",
    );
    const answers = await ask(
      kind,
      vectors.map(({ frames }) => ["read", ...frames.map(whole)]),
    );
    for (const [index, { name, counted, answer }] of vectors.entries()) {
      const { bad, isMalformed } = answers[index];
      const { malformed = 0, unknown = 0, alien = 0, version = 0 } = counted;
      const faults = malformed + unknown + alien + version;
      expect([name, (bad as number) + Number(isMalformed)]).toEqual([name, faults]);
      const isWhole = answer.some(({ status, record }) => status === 3 && record === 0xffffffff);
      if (isWhole || alien > 0) expect([name, isMalformed]).toEqual([name, true]);
    }
  });
});

/** Each prefix of the bytes, and the bytes with each single bit turned. */
function damaged(hex: string): string[] {
  const bytes = Buffer.from(hex, "hex");
  const out: string[] = [];
  for (let size = 0; size < bytes.length; size++) out.push(hex.slice(0, size * 2));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3] ^= 1 << (bit & 7);
    out.push(bytes.toString("hex"));
    bytes[bit >> 3] ^= 1 << (bit & 7);
  }
  return out;
}

describe("damaged bytes", () => {
  const small = messages.filter(({ frames }) => frames.map(whole).join("").length < 400);

  test.each(small)("$name, cut or turned, is read alike in C and Python", async ({ frames }) => {
    const [batch, ...rest] = frames.map(whole);
    const lines = damaged(batch).map((bytes) => ["read", bytes, ...rest]);
    expect(await ask("C", lines)).toEqual(await ask("Python", lines));
  });

  test.each(["an order", "with a dictionary"])(
    "%s, cut or turned, is refused for the codec's reason",
    async (name) => {
      const vector: OpenVector = codec.opens.find((each: OpenVector) => each.name === name);
      const key = await parseKey(codec.key.text);
      const dictionary = await importDictionary(Buffer.from(codec.dictionary.bytes, "hex"));
      const node = await createCodec({ keys: [key], dictionaries: [dictionary] });
      const { service, requestId, headers } = vector.context;
      const context: CodecContext = {
        service,
        direction: vector.context.direction as "request",
        requestId: Buffer.from(requestId, "hex"),
        headers: Buffer.from(headers, "hex"),
      };
      const codeOf = (envelope: string) => {
        try {
          node.open(Buffer.from(envelope, "hex"), context);
          return "opened";
        } catch (error) {
          return (error as CodecError).code;
        }
      };
      const envelopes = damaged(vector.envelope);
      const codes = envelopes.map(codeOf);
      expect(codes).not.toContain("opened");
      const lines = envelopes.map((envelope) => opening({ ...vector, envelope }));
      for (const kind of Object.keys(vectorRunners)) {
        const answers = (await ask(kind, [...keyed, ...lines])).slice(keyed.length);
        // Flags that only we know (RAW, AGREED, CHUNK) are none to them.
        const theirs = codes.map((code, index) => {
          const flags = Number.parseInt(envelopes[index].slice(2, 4), 16);
          return envelopes[index].length >= 40 && (flags & 0x34) !== 0 ? "BAD_FLAGS" : code;
        });
        expect(answers.map(({ code }) => code)).toEqual(theirs);
      }
    },
  );
});

interface OpenVector {
  name: string;
  value: unknown;
  packed: string;
  isSealed?: boolean;
  code?: string;
  context: { service: string; direction: string; requestId: string; headers: string };
  envelope: string;
}

const contextOf = ({ context }: OpenVector) => [
  hexOf(context.service),
  context.direction,
  context.requestId,
  context.headers,
];
const opening = (vector: OpenVector) => ["open", ...contextOf(vector), vector.envelope];
const keyed = [
  ["key", codec.key.text],
  ["dictionary", codec.dictionary.bytes],
];
const keyless = [["dictionary", codec.dictionary.bytes]];

/** Their MessagePack libraries say no without these reasons. */
const sameReason = (code: string, kind: string) =>
  code === "RESERVED_BYTE" && kind === "Python" ? "NOT_MESSAGEPACK" : code;

describe.each(Object.keys(vectorRunners))("codec.json in %s", (kind) => {
  test("opens, with a key and without", async () => {
    const opens: OpenVector[] = codec.opens;
    const sealed = opens.filter(({ isSealed }) => isSealed);
    const plain = opens.filter(({ isSealed }) => !isSealed);
    for (const [setup, vectors] of [[keyed, sealed] as const, [keyless, plain] as const]) {
      const answers = (await ask(kind, [...setup, ...vectors.map(opening)])).slice(setup.length);
      for (const [index, { name, packed }] of vectors.entries()) {
        expect({ name, ...answers[index] }).toEqual({ name, bytes: packed });
      }
    }
    // A holder of keys takes nothing in clear.
    const refused = (await ask(kind, [...keyed, ...plain.map(opening)])).slice(keyed.length);
    expect(refused).toEqual(plain.map(() => ({ code: "UNSEALED" })));
  });

  test("refuses, for the same reasons", async () => {
    const vectors: OpenVector[] = codec.refusals;
    const answers = (await ask(kind, [...keyed, ...vectors.map(opening)])).slice(keyed.length);
    for (const [index, { name, code }] of vectors.entries()) {
      expect({ name, ...answers[index] }).toEqual({ name, code: sameReason(code!, kind) });
    }
  });

  test("refuses keys agreed on, which it does not do", async () => {
    const vectors: OpenVector[] = codec.agreement.opens;
    const answers = (await ask(kind, [...keyed, ...vectors.map(opening)])).slice(keyed.length);
    expect(answers).toEqual(vectors.map(() => ({ code: "BAD_FLAGS" })));
  });

  test("opens what it has sealed itself, and no other context does", async () => {
    const vectors: OpenVector[] = codec.opens;
    const sealing = vectors.map((vector) => ["seal", ...contextOf(vector), vector.packed]);
    const sealed = (await ask(kind, [...keyed, ...sealing])).slice(keyed.length);
    const again = vectors.map((vector, index) =>
      opening({ ...vector, envelope: sealed[index].bytes! }),
    );
    const other = "ff".repeat(16);
    const swapped = vectors.map((vector, index) => {
      const context = { ...vector.context, requestId: other };
      return opening({ ...vector, context, envelope: sealed[index].bytes! });
    });
    const answers = (await ask(kind, [...keyed, ...again, ...swapped])).slice(keyed.length);
    const expected = [
      ...vectors.map(({ packed }) => ({ bytes: packed })),
      ...vectors.map(() => ({ code: "SWAPPED" })),
    ];
    expect(answers).toEqual(expected);
  });

  test("MessagePack: packs, and refuses", async () => {
    const packs: { bytes: string }[] = codec.packs;
    // Keys of any kind, and timestamps of any content, are read by libraries in their own way.
    const refusals = (codec.messagepack as { bytes: string; code: string }[]).filter(
      ({ code }) => !["BAD_KEY", "BAD_TIMESTAMP", "TOO_DEEP"].includes(code),
    );
    const lines = [...packs, ...refusals].map(({ bytes }) => ["repack", bytes]);
    const answers = await ask(kind, lines);
    expect(answers.slice(0, packs.length)).toEqual(packs.map(({ bytes }) => ({ bytes })));
    const codes = refusals.map(({ code }) => ({ code: kind === "C" ? code : "NOT_MESSAGEPACK" }));
    expect(answers.slice(packs.length)).toEqual(codes);
  });

  test("LZ4: blocks, dictionaries, frames", async () => {
    const blocks: { bytes: string; plain?: string }[] = codec.blocks;
    const good = blocks.filter(({ plain }) => plain !== undefined);
    const bad = blocks.filter(({ plain }) => plain === undefined);
    const lines = [
      ...good.map(({ bytes, plain }) => ["block", bytes, String(plain!.length / 2), ""]),
      ...bad.map(({ bytes }) => ["block", bytes, "1000", ""]),
      ...dictionaries.map((each: Record<string, string>) => [
        "block",
        each.block,
        String(each.plain.length / 2),
        each.dictionary,
      ]),
      ...dictionaries.map(({ dictionary }: { dictionary: string }) => ["dictionary", dictionary]),
    ];
    const reversed = (hex: string) => Buffer.from(hex, "hex").reverse().toString("hex");
    expect(await ask(kind, lines)).toEqual([
      ...good.map(({ plain }) => ({ bytes: plain })),
      ...bad.map(() => ({ code: expect.any(String) })),
      ...dictionaries.map(({ plain }: { plain: string }) => ({ bytes: plain })),
      ...dictionaries.map(({ digest }: { digest: string }) => ({ bytes: reversed(digest) })),
    ]);
    const frames = await ask(
      kind,
      lz4Frames.map(({ base64 }: { base64: string }) => [
        "frame",
        Buffer.from(base64, "base64").toString("hex"),
      ]),
    );
    for (const [index, { name, sha256 }] of lz4Frames.entries()) {
      const plain = Buffer.from(frames[index].bytes ?? "", "hex");
      const digest = createHash("sha256").update(plain).digest("hex");
      expect([name, digest]).toEqual([name, sha256]);
    }
  });
});
