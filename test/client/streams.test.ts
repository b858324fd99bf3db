// What a client makes of the parts that a broker hands it, honest or not. Worker and client are real as
// far as the codec goes; the broker is this file.
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { RequestError } from "../../build/base/errors.js";
import type { Broker } from "../../build/client/brokers.js";
import type { StreamOptions } from "../../build/client/options.js";
import type { Pending } from "../../build/client/pending.js";
import { ReplyStream } from "../../build/client/reply-stream.js";
import { type StreamHost, Streams } from "../../build/client/streams.js";
import {
  type Codec,
  createCodec,
  generateKey,
  generateServiceKey,
} from "../../build/codec/index.js";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { requestIdBytes } from "../../build/wire/request-record.js";
import { placeBytes, writePart } from "../../build/wire/stream-record.js";

const ID = { sessionLow: 1, sessionHigh: 2, sequence: 65_536, slot: 0, generation: 0 };

/** A part as the broker has it. */
interface Sealed {
  place: Uint8Array;
  body: Uint8Array;
}

/** A worker's run of a handler that gives these values, and its end. */
function runOf(worker: Codec, client: Codec, values: readonly unknown[]): Sealed[] {
  const context = {
    service: "count",
    direction: "request",
    requestId: requestIdBytes(ID),
  } as const;
  const opened = worker.openRequest(client.seal("go", context), context);
  const run = randomBytes(8);
  return [...values, null].map((value, index) => {
    const place = placeBytes(index, index === values.length, run);
    return { place, body: opened.seal(value, place) };
  });
}

async function codecs(kind: "shared" | "agreed"): Promise<{ worker: Codec; client: Codec }> {
  if (kind === "shared") {
    const keys = [await generateKey()];
    return { worker: await createCodec({ keys }), client: await createCodec({ keys }) };
  }
  const key = await generateServiceKey();
  return {
    worker: await createCodec({ serviceKeys: [key] }),
    client: await createCodec({ servicePublicKeys: { count: key.publicKey } }),
  };
}

/** A client's stream, and the broker's hand on it. */
class Feed {
  readonly stream: ReplyStream;
  isFinished = false;
  givenUp: RequestError | undefined;
  readonly #streams: Streams;

  constructor(codec: Codec, options: StreamOptions = {}) {
    this.stream = new ReplyStream(options);
    const { stream } = this;
    const pending = { ...ID, service: "count", flags: 0, stream, broker: undefined };
    const host: StreamHost = {
      codec,
      // What has ended is not found any more.
      take: () => (this.#isOver ? undefined : (pending as unknown as Pending)),
      id: () => ID,
      has: () => !this.#isOver,
      finish: () => {
        this.isFinished = true;
      },
      giveUp: (_, error) => {
        this.givenUp = error;
        stream.fail(error);
      },
      isQuiet: true,
    };
    this.#streams = new Streams(host);
    this.#streams.attach(stream, pending as unknown as Pending);
    this.#streams.onSent(pending as unknown as Pending, stream);
  }

  get #isOver(): boolean {
    return this.isFinished || this.givenUp !== undefined;
  }

  hand(...parts: readonly Sealed[]): void {
    for (const { place, body } of parts) {
      const writer = new BatchWriter();
      writePart(writer, ID, 0, place, body);
      const reader = new BatchReader();
      reader.open(writer.finish(), 0);
      if (reader.next()) this.#streams.onRecord({} as Broker, reader);
      reader.close();
    }
  }

  /** All that can be read, and how it ended. */
  async read(): Promise<{ values: unknown[]; error: RequestError | undefined }> {
    const values: unknown[] = [];
    try {
      for await (const value of this.stream) values.push(value);
      return { values, error: undefined };
    } catch (error) {
      return { values, error: error as RequestError };
    }
  }
}

describe.each(["shared", "agreed"] as const)("a broker that lies, %s key", (kind) => {
  it("is not there: all parts, then the end", async () => {
    const { worker, client } = await codecs(kind);
    const feed = new Feed(client);
    feed.hand(...runOf(worker, client, ["a", "b", "c"]));
    expect(feed.isFinished).toBe(true);
    expect(await feed.read()).toEqual({ values: ["a", "b", "c"], error: undefined });
  });

  const lies: [string, (parts: Sealed[], other: Sealed[]) => Sealed[], string, string[]][] = [
    ["leaves one out", ([a, , c]) => [a, c], "INTERNAL", ["a"]],
    ["hands one out twice", ([a, b]) => [a, a, b], "INTERNAL", ["a"]],
    ["swaps two", ([a, b, c]) => [a, c, b], "INTERNAL", ["a"]],
    [
      "cuts off the end, with the end in place",
      ([a, b, , end]) => [a, b, end],
      "INTERNAL",
      ["a", "b"],
    ],
    ["mixes two runs", ([a], [, y]) => [a, y], "INTERNAL", ["a"]],
    // What it says of a place is what the seal was made for, or the seal does not open.
    ["leaves one out and says otherwise", ([a, b, c]) => [a, at(b, c)], "UNAUTHENTICATED", ["a"]],
    ["makes an end of a part", ([a, b]) => [a, asEnd(b)], "UNAUTHENTICATED", ["a"]],
    ["makes a part of the end", ([, , , end]) => [asFirst(end)], "UNAUTHENTICATED", []],
    ["makes one run of two", ([a, b], [, y]) => [a, at(b, y)], "UNAUTHENTICATED", ["a"]],
    ["opens one twice", ([a, b]) => [a, at(b, a)], "UNAUTHENTICATED", ["a"]],
    ["changes a byte", ([a, b]) => [a, flipped(b)], "UNAUTHENTICATED", ["a"]],
  ];

  it.each(lies)("%s", async (_, lie, code, values) => {
    const { worker, client } = await codecs(kind);
    const feed = new Feed(client);
    const parts = runOf(worker, client, ["a", "b", "c"]);
    feed.hand(...lie(parts, runOf(worker, client, ["x", "y", "z"])));
    const read = await feed.read();
    expect(read.error).toMatchObject({ code });
    expect(read.values).toEqual(values);
    expect(feed.givenUp !== undefined || feed.isFinished).toBe(true);
  });
});

/** The body of `part` in the place of `where`. */
const at = ({ place }: Sealed, { body }: Sealed): Sealed => ({ place, body });

function asEnd({ place, body }: Sealed): Sealed {
  const end = place.slice();
  end[1] = 1;
  return { place: end, body };
}

function asFirst({ place, body }: Sealed): Sealed {
  const first = place.slice();
  first.fill(0, 1, 16);
  return { place: first, body };
}

function flipped({ place, body }: Sealed): Sealed {
  const other = body.slice();
  other[other.length - 1] ^= 1;
  return { place, body: other };
}

describe("a second run", () => {
  it("is taken from its first part on, where the stream may restart", async () => {
    const { worker, client } = await codecs("shared");
    const seen: string[] = [];
    const feed = new Feed(client, { restart: () => void seen.push("restart") });
    const [a, b] = runOf(worker, client, ["a", "b", "c"]);
    const other = runOf(worker, client, ["x", "y"]);
    feed.hand(a, b);
    seen.push((await feed.stream.next()).value as string);
    // Part b is not read yet: it is void.
    feed.hand(...other);
    for await (const value of feed.stream) seen.push(value as string);
    expect(seen).toEqual(["a", "restart", "x", "y"]);
  });

  it("may answer with a plain value, which is all there is then", async () => {
    const { worker, client } = await codecs("shared");
    const seen: unknown[] = [];
    const feed = new Feed(client, { restart: () => void seen.push("restart") });
    feed.hand(...runOf(worker, client, ["a", "b", "c"]).slice(0, 2));
    seen.push((await feed.stream.next()).value);
    feed.stream.onReply("whole");
    for await (const value of feed.stream) seen.push(value);
    expect(seen).toEqual(["a", "restart", "whole"]);
    // Sent again before anything of the second run came.
    const again = new Feed(client, { restart: () => void seen.push("again") });
    again.hand(runOf(worker, client, ["a", "b"])[0]);
    await again.stream.next();
    again.stream.begin();
    again.stream.onReply("whole");
    for await (const value of again.stream) seen.push(value);
    expect(seen.slice(3)).toEqual(["again", "whole"]);
    const bound = new Feed(client, { restart: null as never });
    bound.hand(runOf(worker, client, ["a", "b"])[0]);
    bound.stream.onReply("whole");
    const { values, error } = await bound.read();
    expect([values, error?.code]).toEqual([["a"], "INTERNAL"]);
  });

  it("is refused where it may not, and where its beginning is missing", async () => {
    const { worker, client } = await codecs("shared");
    for (const [options, skip] of [
      [{}, 0],
      [{ restart: true }, 1],
    ] as const) {
      const feed = new Feed(client, options);
      const [a] = runOf(worker, client, ["a", "b"]);
      feed.hand(a, ...runOf(worker, client, ["x", "y"]).slice(skip));
      const { error } = await feed.read();
      expect(error).toMatchObject({ code: "INTERNAL" });
    }
  });
});

describe("a broker that sends too much", () => {
  it("is given up: no more than the window is kept", async () => {
    const { worker, client } = await codecs("shared");
    const feed = new Feed(client, { window: 2 });
    feed.hand(...runOf(worker, client, ["a", "b", "c"]));
    expect(feed.givenUp).toMatchObject({ code: "INTERNAL" });
    expect(feed.givenUp?.reason).toMatch("more parts than were granted");
    expect((await feed.read()).values).toEqual(["a", "b"]);
  });
});

describe("a client that asked for a reply", () => {
  it("fails what is answered with parts", async () => {
    const { worker, client } = await codecs("shared");
    let failed: RequestError | undefined;
    const streams = new Streams({
      codec: client,
      take: () => ({ stream: undefined }) as Pending,
      id: () => ID,
      has: () => true,
      finish: () => {},
      giveUp: (_, error) => {
        failed = error;
      },
      isQuiet: true,
    });
    const [{ place, body }] = runOf(worker, client, ["a"]);
    const writer = new BatchWriter();
    writePart(writer, ID, 0, place, body);
    const reader = new BatchReader();
    reader.open(writer.finish(), 0);
    reader.next();
    streams.onRecord({} as Broker, reader);
    expect(failed).toMatchObject({ code: "INTERNAL" });
    expect(failed?.reason).toMatch("client.stream()");
  });
});
