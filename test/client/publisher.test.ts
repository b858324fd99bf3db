// What a publisher makes of what brokers say; they are this file.
import { expect, it } from "vitest";
import { Status } from "../../build/base/status.js";
import type { Broker } from "../../build/client/brokers.js";
import { Publisher } from "../../build/client/publisher.js";
import type { Codec } from "../../build/codec/index.js";
import { BatchWriter } from "../../build/wire/batch.js";

function made(): Broker {
  const link = { isOpen: true, recordMax: 1e6, writer: new BatchWriter(), flushSoon: () => {} };
  return { link, isWelcome: true, isDraining: false } as unknown as Broker;
}

it("is told by the broker that it published to, and by no other, what became of it", async () => {
  const publisher = new Publisher({} as Codec, 60_000);
  const [home, other] = [made(), made()];
  publisher.onWelcome(home);
  publisher.onWelcome(other);
  const confirmed = publisher.publish("a", "x", { raw: true, confirm: true });
  const answer = { taken: 0, confirm: 1, reason: "" };
  publisher.onPublished(other, { ...answer, status: Status.OK, heard: 7 });
  publisher.onPublished(other, { ...answer, status: Status.INTERNAL, heard: 0 });
  publisher.onPublished(home, { ...answer, status: Status.OK, heard: 1 });
  expect(await confirmed).toBe(1);
  publisher.close();
});
