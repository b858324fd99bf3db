import { defineConfig } from "vitest/config";

// npm run test:interop: programs in C, Java and Python, which `npm test` does without.
export default defineConfig({
  test: {
    include: ["test/interop/**/*.test.ts"],
    globalSetup: ["test/interop/build-programs.ts"],
    fileParallelism: false,
    pool: "forks",
    testTimeout: 120_000,
    hookTimeout: 120_000,
    retry: 0,
  },
});
