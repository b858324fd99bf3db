// Bodies of peers that know no records, as records.
import { afterEach, expect, it, vi } from "vitest";
import { outgoing } from "../../build/base/blocks.js";
import { rawReply } from "../../build/broker/raw-records.js";
import { bytesOf, replyBody } from "../../build/wire/request-record.js";
import { bodyOf } from "../system/patterned.js";

afterEach(() => vi.restoreAllMocks());

it("are the parts that came, and take no block that is not given back", () => {
  const take = vi.spyOn(outgoing, "take");
  const sizes = [[0], [100], [8192], [20_000], [65_535], [65_536], [9000, 0, 50_000, 70_000]];
  for (const [number, parts] of sizes.entries()) {
    const body = parts.map((size, index) => bodyOf(number + index, size));
    const held = rawReply(body);
    const read = replyBody(held);
    expect(read).toHaveLength(body.length);
    for (const [index, part] of read.entries()) expect(body[index].equals(part)).toBe(true);
    expect(bytesOf(held)).toBeGreaterThan(parts.reduce((sum, size) => sum + size, 0));
  }
  expect(take.mock.results.length).toBeGreaterThan(0);
  for (const { value } of take.mock.results) expect(outgoing.has(value)).toBe(false);
});
