import { describe, expect, it } from "vitest";
import { hostOf, isLoopback, parseAdminAddress } from "../../build/admin/address.js";

describe("an admin address", () => {
  it.each([
    ["127.0.0.1:9100", "127.0.0.1", 9100],
    ["127.8.8.8:0", "127.8.8.8", 0],
    ["[::1]:65535", "::1", 65_535],
    ["localhost:1", "127.0.0.1", 1],
  ])("%s", (text, host, port) => expect(parseAdminAddress("admin", text)).toEqual({ host, port }));

  it.each([
    ["", /not of that form/],
    ["9100", /not of that form/],
    ["::1:9100", /not of that form/],
    ["http://127.0.0.1:9100", /not of that form/],
    ["127.0.0.1", /not of that form/],
    ["[127.0.0.1]:1", /must hold an IPv6 address/],
    ["127.0.0.1:65536", /above 65535/],
    ["0.0.0.0:9100", /only loopback/],
    ["[::]:9100", /only loopback/],
    ["*:9100", /only loopback/],
    ["192.0.2.1:9100", /only loopback/],
    ["127.evil.example:9100", /only loopback/],
    ["example.com:9100", /only loopback/],
  ])("not %j", (text, why) => {
    expect(() => parseAdminAddress("admin", text)).toThrow(why);
    expect(() => parseAdminAddress("admin", text)).toThrow(JSON.stringify(text));
  });
});

it.each([
  ["127.0.0.1:9100", true],
  ["localhost", true],
  ["LOCALHOST:1", true],
  ["[::1]:9100", true],
  ["127.0.0.1.evil.example:9100", false],
  ["evil.example", false],
  ["10.0.0.1:9100", false],
  ["", false],
  ["[::1].evil.example", false],
])("the Host header %j names loopback: %s", (header, isSo) => {
  expect(isLoopback(hostOf(header))).toBe(isSo);
});
