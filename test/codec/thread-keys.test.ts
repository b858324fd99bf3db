// The thread knows the shared keys alone. What a codec refuses in its own thread it refuses for large
// bodies too, and what was agreed on is opened.
import { afterEach, describe, expect, test } from "vitest";
import {
  type Codec,
  type CodecContext,
  CodecError,
  createCodec,
  generateKey,
  generateServiceKey,
} from "../../build/codec/index.js";
import { order } from "./support.js";

const shared = await generateKey();
const serviceKey = await generateServiceKey();
const servicePublicKeys = { "*": serviceKey.publicKey };
const requestId = new Uint8Array(16).fill(7);
const service = "orders.list";
const asking: CodecContext = { service, direction: "request", requestId };
const answering: CodecContext = { service, direction: "reply", requestId };
const bodies = { small: order, large: Array.from({ length: 1500 }, () => order) };

const codecs: Codec[] = [];
async function codecOf(options: Parameters<typeof createCodec>[0]): Promise<Codec> {
  const codec = await createCodec(options);
  codecs.push(codec);
  return codec;
}

afterEach(() => {
  for (const codec of codecs.splice(0)) codec.close();
});

/** The value, or the code of the refusal. */
async function outcomeOf(open: () => unknown): Promise<unknown> {
  try {
    return await open();
  } catch (error) {
    expect(error).toBeInstanceOf(CodecError);
    return (error as CodecError).code;
  }
}

describe.each(Object.entries(bodies))("a %s body", (_, body) => {
  test("in clear is refused by whoever has keys of any kind", async () => {
    const plain = await codecOf({});
    for (const options of [
      { keys: [shared] },
      { serviceKeys: [serviceKey] },
      { servicePublicKeys },
    ]) {
      const codec = await codecOf(options);
      for (const context of [asking, answering]) {
        const bytes = plain.seal(body, context);
        expect(await outcomeOf(() => codec.openAsync(bytes, context))).toBe("UNSEALED");
        expect(await outcomeOf(() => codec.open(bytes, context))).toBe("UNSEALED");
      }
    }
  });

  test("of a holder of the shared key is no reply of a service with a public key", async () => {
    const client = await codecOf({ keys: [shared], servicePublicKeys });
    const other = await codecOf({ keys: [shared] });
    const forged = other.seal(body, answering);
    expect(await outcomeOf(() => client.openAsync(forged, answering))).toBe("UNKNOWN_KEY");
    expect(await outcomeOf(() => client.open(forged, answering))).toBe("UNKNOWN_KEY");
  });

  test.each([
    ["shared keys besides", [shared]],
    ["none", undefined],
  ])("agreed on is opened at both ends, with %s", async (_name, keys) => {
    const client = await codecOf({ keys, servicePublicKeys });
    const worker = await codecOf({ keys, serviceKeys: [serviceKey] });
    const request = await worker.openRequestAsync(await client.sealAsync(body, asking), asking);
    expect(request.value).toEqual(body);
    const reply = await request.sealAsync(body);
    expect(await client.openAsync(reply, answering)).toEqual(body);
    expect(await outcomeOf(() => client.openAsync(reply, answering))).toBe("REPLAYED");
  });
});
