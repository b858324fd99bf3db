import { defineConfig } from "vitest/config";

const common = {
  setupFiles: ["test/poison.ts"],
  // Needs compilers and packages of the system: see vitest.interop.config.mjs.
  exclude: ["test/interop/**"],
  pool: "forks",
  testTimeout: 60_000,
  hookTimeout: 60_000,
  retry: 0,
};

/** What computes and nothing else: no process of its own, no socket, no time that it must keep. */
const pure = ["base", "core", "wire", "codec", "fuzz", "simulation"].map(
  (room) => `test/${room}/**/*.test.ts`,
);

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...common,
          name: "pure",
          include: pure,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: "processes",
          include: ["test/**/*.test.ts"],
          exclude: [...common.exclude, ...pure],
          // Two cores: tests that start processes would disturb each other.
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
