import { mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { listenOn } from "../../build/zmtp/endpoint.js";

test("an ipc socket is its owner's alone from its first moment on, whatever the umask", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wasmq-"));
  const path = join(folder, "a");
  const server = createServer();
  const mode = () => statSync(path).mode & 0o777;
  // Told before whoever set it right behind that.
  let first = -1;
  server.once("listening", () => {
    first = mode();
  });
  const before = process.umask(0);
  try {
    await listenOn(server, { kind: "ipc", path });
    expect([first.toString(8), mode().toString(8)]).toEqual(["600", "600"]);
    expect(process.umask(before)).toBe(0);
  } finally {
    process.umask(before);
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  }
});
