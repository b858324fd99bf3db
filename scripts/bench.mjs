// `npm run bench`: the bench suites, on a build of what is in src/ now. Arguments are theirs.
import { buildAll } from "./build.mjs";

buildAll({ ifStale: true });
await import("../bench/main.mjs");
