import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { makePrivateFolder, sweep } from "../../build/broker/private-folder.js";

const parent = mkdtempSync(join(tmpdir(), "sweep-"));
afterAll(() => rmSync(parent, { recursive: true, force: true }));

it("is this user's alone, and named after its process", () => {
  const folder = makePrivateFolder();
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(basename(folder)).toMatch(new RegExp(`^wq-\\d+-${process.pid}-\\w{6}$`));
  rmSync(folder, { recursive: true });
});

it("what dead processes left goes; what is of the living, or of anybody else, stays", () => {
  const mine = makePrivateFolder();
  const name = basename(mine);
  rmSync(mine, { recursive: true });
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const of = (pid: number) => name.replace(`-${process.pid}-`, `-${pid}-`);
  const [, namespace] = name.split("-");
  const left = of(dead);
  const kept = [
    name,
    of(1),
    `wq-${Number(namespace) + 1}-${dead}-abcdef`,
    `wq-${namespace}-${dead}`,
    `${left}-more`,
    "wq-abcdef",
  ];
  for (const each of [left, ...kept]) mkdirSync(join(parent, each));
  mkdirSync(join(parent, left, "within"));
  sweep(parent);
  expect(existsSync(join(parent, left))).toBe(false);
  for (const each of kept) expect(existsSync(join(parent, each)), each).toBe(true);
});
