import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    setupFiles: ["test/poison.ts"],
    include: ["test/**/*.test.ts"],
    // Needs compilers and packages of the system: see vitest.interop.config.mjs.
    exclude: ["test/interop/**"],
    // Two cores: tests that start processes would disturb each other.
    fileParallelism: false,
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    retry: 0,
  },
});
