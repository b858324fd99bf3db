// The whole chain: codec.seal and codec.open against the stacks that a user would build.
import { randomBytes } from "node:crypto";
import { createCodec, generateKey } from "../../build/codec/index.js";
import { check, meanSize } from "./check.mjs";
import { makeFamily } from "./families.mjs";
import { once, repeated } from "./measure.mjs";
import { makeStacks, STACKS_TEXT } from "./stacks.mjs";

/** @param {number} ratio as the fastest of the stacks, and so as each of them */
const all = (ratio) => ({ A: ratio, B: ratio, C: ratio, E: ratio });

const SMALL_SIZE_MAX = 1024;

/** How many times as fast as which stack: sealing, opening. */
const TARGETS = {
  order: [
    { A: 12, B: 2 },
    { A: 8, B: 2 },
  ],
  list: [all(1.6), all(3)],
  strs: [all(2), all(1.5)],
  "1 KiB random": [{}, {}],
  "64 KiB random": [all(1), all(1)],
};

/** @param {import("../../build/codec/index.js").Codec} codec @returns {import("./stacks.mjs").Stack} */
function ours(codec) {
  return {
    name: "wasmq",
    seal: (value, context) => codec.seal(value, context),
    open: (bytes, context) => codec.open(bytes, context),
  };
}

/** @param {keyof typeof TARGETS} family @param {import("./tables.mjs").Kit} kit */
async function openFamily(family, { valuesMax, rivals }) {
  const values = makeFamily(family, valuesMax);
  const contexts = values.map(() => ({
    service: "bench.echo",
    direction: /** @type {const} */ ("request"),
    requestId: Buffer.from(Uint8Array.from(randomBytes(16))),
  }));
  // One codec a process: a second one slows down both.
  const codec = await createCodec({ keys: [await generateKey()] });
  const valueBytes = meanSize(values.map((value) => ({ length: codec.pack(value).length })));
  const { stacks, absent } = makeStacks(rivals, valueBytes < SMALL_SIZE_MAX);
  const contenders = [ours(codec), ...stacks];
  const [sealTargets, openTargets] = TARGETS[family];
  for (const { name, seal, open } of contenders) {
    const roundTrip = (/** @type {any} */ value, /** @type {number} */ at) =>
      open(seal(value, contexts[at]), contexts[at]);
    check(`${name}, ${family}`, values, roundTrip);
  }
  const sizes = contenders.map(({ seal }) =>
    meanSize(values.map((value, at) => ({ length: seal(value, contexts[at]).length }))),
  );
  return {
    values: values.length,
    valueBytes,
    operations: [
      {
        name: "seal",
        targets: sealTargets,
        absent,
        contenders: contenders.map(({ name, seal }, index) => ({
          name,
          bytes: sizes[index],
          time: repeated(values.length, (at) => seal(values[at], contexts[at])),
        })),
      },
      {
        name: "open",
        targets: openTargets,
        absent,
        contenders: contenders.map(({ name, seal, open }, index) => ({
          name,
          bytes: sizes[index],
          // Ours opens a message once, a replay is refused; so nobody's may be in the cache yet.
          time: once(
            values.length,
            (at) => seal(values[at], contexts[at]),
            (bytes, at) => open(bytes, contexts[at]),
          ),
        })),
      },
    ],
  };
}

/** @type {import("./tables.mjs").Table} */
export const chain = {
  title: "The chain",
  hasSizes: true,
  about:
    "A value to sealed bytes with codec.seal, and back with codec.open, which checks for replays " +
    "besides; against the stacks a user would build. All bind the request id, ours service and " +
    `direction as well; each message has a nonce of its own and is opened once. ${STACKS_TEXT}`,
  sections: Object.fromEntries(
    Object.keys(TARGETS).map((family) => [
      family,
      (kit) => openFamily(/** @type {keyof typeof TARGETS} */ (family), kit),
    ]),
  ),
};
