import fc from "fast-check";
import { expect, test } from "vitest";
import { AccessTable, type Denial, readAccessSpec } from "../../build/base/access.js";

const A = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
const B = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

function tableOf(grant: object, denials: Denial[] = []) {
  const table = new AccessTable({ keys: { [A]: grant } }, (denial) => denials.push(denial));
  return { table, access: table.find(A)!, denials };
}

test("a key that is not there is not known, and one that is granted nothing may do nothing", () => {
  const { table, access } = tableOf({});
  expect(table.find(B)).toBeUndefined();
  for (const action of [
    "call",
    "serve",
    "publish",
    "subscribe",
    "push",
    "pull",
    "administer",
  ] as const)
    for (const what of ["", "a", "*", ">", "a.>"]) expect(access.may(action, what)).toBe(false);
  expect(access.mayHearPrefix("")).toBe(false);
});

test("services and queues: a name, the beginning of one, all; each action for itself", () => {
  const { access } = tableOf({ call: ["orders.price", "stock.*"], serve: ["*"], push: ["mail*"] });
  const called = ["orders.price", "orders.prices", "orders", "stock.", "stock.a.b", "stock", "*"];
  expect(called.map((name) => access.may("call", name))) //
    .toEqual([true, false, false, true, true, false, false]);
  expect(access.may("serve", "anything")).toBe(true);
  expect(access.may("push", "mailbox")).toBe(true);
  expect(access.may("pull", "mailbox")).toBe(false);
});

const topics: [string, string, boolean][] = [
  ["a.b", "a.b", true],
  ["a.b", "a", false],
  ["a.b", "a.b.c", false],
  ["a.*", "a.b", true],
  ["a.*", "a.*", true],
  ["a.*", "a.>", false],
  ["a.*", "a", false],
  ["a.b", "a.*", false],
  ["a.>", "a.b", true],
  ["a.>", "a.b.c", true],
  ["a.>", "a.*.c", true],
  ["a.>", "a.>", true],
  ["a.>", "a", false],
  ["a.>", ">", false],
  ["*.b", "*.b", true],
  ["*.b", "a.b", true],
  [">", ">", true],
  [">", "a", true],
  ["*", ">", false],
];
for (const [pattern, topic, isCovered] of topics)
  test(`a grant of ${pattern} ${isCovered ? "covers" : "does not cover"} ${topic}`, () => {
    expect(tableOf({ subscribe: [pattern] }).access.may("subscribe", topic)).toBe(isCovered);
  });

test("a subscription is covered only if every topic that it hears is", () => {
  const part = fc.constantFrom("a", "b", "c");
  const pattern = fc
    .tuple(fc.array(fc.constantFrom("a", "b", "*"), { maxLength: 3 }), fc.boolean())
    .map(([parts, isOpen]) => (isOpen || parts.length === 0 ? [...parts, ">"] : parts).join("."));
  const topic = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("."));
  const hears = (asked: string, heard: string) =>
    tableOf({ subscribe: [asked] }).access.may("subscribe", heard);
  fc.assert(
    fc.property(pattern, pattern, topic, (granted, asked, heard) => {
      if (!hears(granted, asked) || !hears(asked, heard)) return;
      expect(hears(granted, heard)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test("a plain subscription hears all that begins so: only > covers that", () => {
  const { access } = tableOf({ subscribe: ["a.b.>", "x.*.>", "only"] });
  const prefixes = ["a.b.", "a.b.c", "a.b", "a.", "", "x.y.", "x.y", "only", "a.bc."];
  expect(prefixes.map((prefix) => access.mayHearPrefix(prefix))) //
    .toEqual([true, true, false, false, false, true, false, false, false]);
  expect(tableOf({ subscribe: [">"] }).access.mayHearPrefix("")).toBe(true);
});

test("a denial says who and what, and is told each time", () => {
  const { access, denials } = tableOf({ name: "gateway", call: ["a"] });
  expect(access.denial("call", "a")).toBeUndefined();
  expect(access.denial("call", "b")).toBe("gateway may not call b");
  access.denial("call", "b");
  expect(denials).toEqual(Array(2).fill({ key: A, name: "gateway", action: "call", what: "b" }));
});

test("replace: who stays keeps its Access with what it is granted now; a bad one changes nothing", () => {
  const { table, access } = tableOf({ call: ["a"] });
  expect(access.may("call", "a")).toBe(true);
  table.replace({ keys: { [A]: { serve: ["a"] }, [B]: {} } });
  expect(table.find(A)).toBe(access);
  expect([access.may("call", "a"), access.may("serve", "a"), table.keyCount]) //
    .toEqual([false, true, 2]);
  expect(() => table.replace({ keys: { [B]: {}, wrong: {} } })).toThrow(TypeError);
  expect(table.find(A)).toBe(access);
  table.replace({ keys: { [B]: {} } });
  expect(table.find(A)).toBeUndefined();
});

test("more names than are remembered are still answered right", () => {
  const { access } = tableOf({ call: ["a.*"] });
  for (let i = 0; i < 5000; i++) {
    expect(access.may("call", `a.${i}`)).toBe(true);
    expect(access.may("call", `b.${i}`)).toBe(false);
  }
});

const wrong: [string, unknown, string][] = [
  ["no object", [], "the access file must be an object"],
  ["no keys", {}, "keys must be an object"],
  ["another field", { keys: {}, roles: 1 }, 'the access file: unknown field "roles"'],
  ["no key", { keys: { abc: {} } }, 'keys["abc"]: a key is 40 characters of Z85 alone'],
  ["an action that is none", { keys: { [A]: { calls: [] } } }, 'unknown field "calls"'],
  ["no list", { keys: { [A]: { call: "a" } } }, ".call must be a list of at most 1024 patterns"],
  ["a star inside", { keys: { [A]: { call: ["a.*.b"] } } }, '.call: "a.*.b" is not a name'],
  ["an empty pattern", { keys: { [A]: { call: [""] } } }, '.call: "" is not a name'],
  ["> inside", { keys: { [A]: { publish: ["a.>.b"] } } }, '.publish: "a.>.b" is not parts'],
  ["a star in a part", { keys: { [A]: { publish: ["a.b*"] } } }, '.publish: "a.b*" is not parts'],
  ["a name with a line break", { keys: { [A]: { name: "a\nb" } } }, ".name must be"],
];
for (const [what, spec, message] of wrong)
  test(`an access file is refused for ${what}`, () => {
    expect(() => readAccessSpec(spec)).toThrow(message);
  });
