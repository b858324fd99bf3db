import { createRequire } from "node:module";
import { describeNats } from "./nats.mjs";

/**
 * What `--peers` adds, with versions, or why it is not there.
 * @returns {{ name: string, version?: string, absent?: string }[]}
 */
export function describePeers() {
  const { version } = createRequire(import.meta.url)("zeromq/package.json");
  return [
    { name: "Proxy", version: `zeromq ${version}` },
    { name: "NATS", ...describeNats() },
  ];
}
