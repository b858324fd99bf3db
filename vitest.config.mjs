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

/** What starts programs, each with ports of its own, and waits for what they say: as well beside each other. */
const programs = ["test/cli/**/*.test.ts", "test/{demo,examples,package}.test.ts"];

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
          name: "programs",
          include: programs,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...common,
          name: "processes",
          include: ["test/**/*.test.ts"],
          exclude: [...common.exclude, ...pure, ...programs],
          // Two cores: tests of heartbeats, floods and deaths would disturb each other.
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
