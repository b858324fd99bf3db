// npm run fuzz: hostile input at the codec, on whatever it needs.
import { become, prepare, root } from "./prepare.mjs";

await prepare();
await become(
  `${root}test/fuzz/main.mjs`,
  process.argv.slice(2),
  "npm run fuzz: there is no fuzzer here: test/fuzz/main.mjs is missing",
);
