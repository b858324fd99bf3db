// Makes lz4-frames.json with the lz4 command line tool: node test/vectors/make-lz4-frames.mjs
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";

/** 500 words again and again: by itself no block of 64 KiB has them all before it needs them. */
function content(size) {
  const words = Array.from({ length: 500 }, (_, at) => Math.imul(at, 2654435761).toString(36));
  const text = Array.from({ length: Math.ceil(size / 4) }, (_, at) => words[(at * at) % 500]);
  return Buffer.from(text.join(" ")).subarray(0, size);
}

const lz4 = (args, input) =>
  execFileSync("lz4", ["-c", ...args], { input, stdio: ["pipe", "pipe", "ignore"] });
const large = content(150_000);
const small = content(100);
const frame = (name, plain, ...args) => ({ name, plain, bytes: lz4(args, plain) });
const skippable = Buffer.from("5a2a4d180500000068656c6c6f", "hex");
const linked = frame("blocks of 64 KiB, linked", large, "-B4", "-BD");
const cases = [
  linked,
  frame("blocks of 64 KiB by themselves", large, "-B4"),
  frame("blocks of 4 MiB, as the tool makes them", large),
  frame("high compression, linked", large, "-9", "-B4", "-BD"),
  frame("checksums of blocks", large, "-B4", "-BD", "-BX"),
  frame("no checksum of the content", small, "--no-frame-crc"),
  frame("the content's size", small, "--content-size"),
  frame("nothing", Buffer.alloc(0)),
  { name: "a frame to be passed over, first", plain: small, bytes: [skippable, lz4([], small)] },
  { name: "two frames", plain: [large, small], bytes: [linked.bytes, skippable, lz4([], small)] },
];
const version = execFileSync("lz4", ["--version"]).toString().match(/v[\d.]+/)[0];
const joined = (parts) => (Array.isArray(parts) ? Buffer.concat(parts) : parts);
const vectors = cases.map(({ name, plain, bytes }) => ({
  name,
  size: joined(plain).length,
  sha256: createHash("sha256").update(joined(plain)).digest("hex"),
  base64: joined(bytes).toString("base64"),
}));
const url = new URL("lz4-frames.json", import.meta.url);
writeFileSync(url, `${JSON.stringify({ madeBy: `lz4 ${version}`, vectors }, undefined, 2)}\n`);
