import { expect, test } from "vitest";
import { Asks } from "../../build/client/asks.js";
import type { Brokers } from "../../build/client/brokers.js";
import type { RequestError } from "../../build/index.js";

test("what begins after the close, its body sealed too late, ends at once as CANCELLED", () => {
  const brokers = { pick: () => undefined } as unknown as Brokers;
  const asks = new Asks(
    brokers,
    () => {},
    () => 1,
  );
  const errors: Error[] = [];
  const begin = (sequence: number) =>
    asks.start({
      sequence,
      bytes: 1,
      write: () => {
        throw new Error("nowhere to write to");
      },
      reject: (error) => void errors.push(error),
      deadlineMs: performance.now() + 86_400_000,
      isResent: true,
      doubt: "",
    });
  begin(1);
  asks.close();
  begin(2);
  expect(errors.map((error) => (error as RequestError).code)).toEqual(["CANCELLED", "CANCELLED"]);
  expect(asks.count).toBe(0);
});
