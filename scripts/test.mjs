// npm test: all tests, on a fresh clone too. Arguments go to vitest: npm test -- test/codec
import { become, prepare, root } from "./prepare.mjs";

await prepare();
await become(
  `${root}node_modules/vitest/vitest.mjs`,
  ["run", ...process.argv.slice(2)],
  "npm test: vitest is not installed",
);
