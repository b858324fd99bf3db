// The package as its users get it: packed, installed into an empty project, imported and run.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Running } from "./cli/processes.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "wasmq-package-"));
const project = join(folder, "project");
let files: string[];

const SCRIPT = `import { Broker, Client, Worker } from "wasmq";
import { createCodec, generateKey } from "wasmq/codec";
const any = "tcp://127.0.0.1:0";
const broker = await Broker.start({ frontend: any, backend: any });
const keys = [await generateKey()];
const codec = await createCodec({ keys });
const services = { add: ({ a, b }) => a + b };
const worker = await Worker.start({ brokers: broker.backend, services, codec });
const client = await Client.connect({ brokers: broker.frontend, keys });
console.log("sum", await client.request("add", { a: 1, b: 2 }));
await client.close();
await worker.drain();
console.log("drained", await broker.close());
`;

const TYPED = `import { Broker, Client, RequestError, Worker, type BrokerStats, type Handler } from "wasmq";
import { createCodec, type Codec, type CodecKey } from "wasmq/codec";
const price: Handler<{ sku: string }, { cents: number }> = ({ sku }) => ({ cents: sku.length });
export async function main(keys: readonly CodecKey[]): Promise<number> {
  const codec: Codec = await createCodec({ keys });
  const broker = await Broker.start();
  const worker = await Worker.start({ brokers: broker.backend, services: { price }, codec });
  const client = await Client.connect({ brokers: broker.frontend, codec });
  const { cents } = await client.request<{ cents: number }>("price", { sku: "A" }, { timeoutMs: 5 });
  const stats: BrokerStats = broker.stats;
  await worker.drain();
  return new RequestError("OK", "x").retryAfterMs + cents + stats.requests;
}
// @ts-expect-error brokers is required
void Client.connect({});
// @ts-expect-error no such export
import { Exchange } from "wasmq";
`;

async function npm(args: string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await new Running("npm", args, { cwd }).ended;
  if (code !== 0) throw new Error(`npm ${args.join(" ")}: ${stderr}`);
  return stdout;
}

beforeAll(async () => {
  mkdirSync(project);
  const packed = await npm(["pack", "--json", "--pack-destination", folder], root);
  const [report] = JSON.parse(packed.slice(packed.indexOf("[\n")));
  files = report.files.map(({ path }: { path: string }) => path);
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }');
  const tarball = join(folder, report.filename);
  await npm(["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], project);
}, 180_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the package", () => {
  it("holds what its users need, and neither tests nor the demonstration", () => {
    const needed = ["LICENSE", "build/index.js", "build/index.d.ts", "build/codec/index.d.ts"];
    needed.push("build/codec.wasm", "build/broker.js", "build/cli/main.js", "src/wire/PROTOCOL.md");
    needed.push("examples/pubsub.mjs", "examples/streams.mjs", "examples/tasks.mjs");
    expect(files).toEqual(expect.arrayContaining(needed));
    for (const page of ["README.md", "CHANGELOG.md"]) {
      expect(files.includes(page)).toBe(existsSync(join(root, page)));
    }
    const pages = files.filter((path) => path.endsWith(".md"));
    const links = pages.flatMap((page) => {
      const text = readFileSync(join(root, page), "utf8");
      const found = [...text.matchAll(/\]\((?!\w+:)([^)#\s]+)(?:#[\w-]+)?\)/g)];
      return found.map(([, path]) => join(dirname(page), path));
    });
    const known = ["docs/architecture.md", "docs/codec.md", "examples/c/gateway.c"];
    expect(links).toEqual(expect.arrayContaining(known));
    // Wherever one reads it, a link leads somewhere.
    expect(links.filter((path) => !files.includes(path))).toEqual([]);
    const other = files.filter(
      (path) =>
        !/^build\/|^docs\/|^examples\/(\w+\/)?(\w+\.(mjs|c|h|java|py)|Makefile)$|^[\w.]+$|^src\/wire\/PROTOCOL\.md$/.test(
          path,
        ),
    );
    expect(other).toEqual([]);
    expect(files.filter((path) => /demo|\.test\.|\.stamp|ignore/.test(path))).toEqual([]);
  });

  it("runs from an import, end to end", async () => {
    writeFileSync(join(project, "script.mjs"), SCRIPT);
    const ended = await new Running(process.execPath, ["script.mjs"], { cwd: project }).ended;
    expect(ended).toMatchObject({ code: 0, stdout: "sum 3\ndrained true\n", stderr: "" });
  });

  // Declarations of ours mention Buffer: a project either has Node's types or skips libraries.
  const libraries: [string, string[]][] = [
    ["Node's types", ["--typeRoots", join(root, "node_modules/@types"), "--types", "node"]],
    // Ours are checked too, and there is no "dom" among the libraries.
    [
      "Node's types and no others",
      [
        ...["--typeRoots", join(root, "node_modules/@types"), "--types", "node"],
        ...["--lib", "es2023", "--skipLibCheck", "false"],
      ],
    ],
    ["skipLibCheck", ["--skipLibCheck", "--types", "", "--lib", "es2023,esnext.disposable"]],
  ];
  const resolutions: [string, string][] = [
    ["nodenext", "nodenext"],
    ["bundler", "esnext"],
  ];
  const cases = resolutions.flatMap(([resolution, module]) =>
    libraries.map(([name, flags]) => ({ resolution, module, name, flags })),
  );
  it.each(cases)("has types for $resolution with $name", async ({ resolution, module, flags }) => {
    writeFileSync(join(project, "typed.ts"), TYPED);
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const args = [tsc, "--noEmit", "--strict", "--target", "es2022", "--module", module];
    args.push("--moduleResolution", resolution, ...flags, "typed.ts");
    const ended = await new Running(process.execPath, args, { cwd: project }).ended;
    expect(ended).toMatchObject({ code: 0, stdout: "" });
  });

  it("has ten lines in its README that type-check as they stand", async () => {
    const [, lines] = /```ts\n(.*?)```/s.exec(readFileSync(join(root, "README.md"), "utf8"))!;
    writeFileSync(join(project, "readme.ts"), lines);
    const args = [join(root, "node_modules/typescript/bin/tsc"), "--noEmit", "--strict"];
    args.push("--target", "es2022", "--module", "nodenext", ...libraries[0][1], "readme.ts");
    const ended = await new Running(process.execPath, args, { cwd: project }).ended;
    expect(ended).toMatchObject({ code: 0, stdout: "" });
  });

  it("has the bin wasmq, which runs a broker", async () => {
    const bin = join(project, "node_modules/.bin/wasmq");
    const version = await new Running(bin, ["--version"], { cwd: project }).ended;
    expect(version).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });

    const any = "tcp://127.0.0.1:0";
    const args = ["broker", "--frontend", any, "--backend", any];
    const broker = new Running(bin, args, { cwd: project });
    try {
      expect((await broker.logged("ready")).frontend).toHaveLength(1);
      broker.kill("SIGTERM");
      expect(await broker.ended).toMatchObject({ code: 0, stderr: "" });
    } finally {
      broker.kill("SIGKILL");
    }

    const bench = await new Running(bin, ["bench", "--quick"], { cwd: project }).ended;
    expect(bench).toMatchObject({ code: 2, stdout: "" });
    expect(bench.stderr).toMatch(/^wasmq bench: the bench suite is not in the package[^\n]*\n$/);
  });
});
