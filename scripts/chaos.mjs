// npm run chaos: processes killed, stopped and flooded at random, every request accounted for.
import { become, prepare, root } from "./prepare.mjs";

await prepare();
await become(
  `${root}test/chaos/main.mjs`,
  process.argv.slice(2),
  "npm run chaos: test/chaos/main.mjs is missing",
);
