// npm run bench: the bench suite, on whatever it needs.
import { become, prepare, root } from "./prepare.mjs";

await prepare();
await become(
  `${root}bench/main.mjs`,
  process.argv.slice(2),
  "npm run bench: there is no bench suite here: bench/main.mjs is missing",
);
