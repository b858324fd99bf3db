// npm start: the demonstration, on whatever it needs.
import { become, prepare, root } from "./prepare.mjs";

await prepare();
await become(
  `${root}build/demo/main.js`,
  process.argv.slice(2),
  "npm start: there is no demonstration here: build/demo/main.js is missing",
);
