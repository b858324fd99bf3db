// Many last values, and a client that asks for them as hard as it can: what one turn of the broker does for it.
import { afterEach, beforeEach, expect, it } from "vitest";
import { walkPaceMax } from "../../build/core/topics/walk-pace.js";
import type { Shown } from "../wire/support.js";
import { clientHello, Stage } from "./fake-port.js";

const TOPICS = 20_000;
const PUBLISHER = "0000000000000001";
/** What an event or a step may go past its share. */
const BEYOND = 64;

let stage: Stage;

const publication = (topic: string): Shown => ({
  kind: "PUBLISH",
  flags: 3,
  publisher: PUBLISHER,
  sequence: "1",
  number: 0,
  topic,
  body: ["61"],
});
const subscribe = (subscription: number, pattern: string): Shown => ({
  kind: "SUBSCRIBE",
  subscription,
  pattern,
  whenFull: 0,
  queueMax: 100,
  wantsRetained: true,
});
const turn = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  stage = new Stage();
  stage.send("frontend", "publisher", clientHello("00000000000000aa"));
  for (let first = 0; first < TOPICS; first += 1000) {
    const topics = Array.from({ length: 1000 }, (_, i) => publication(`t${first + i}`));
    stage.send("frontend", "publisher", ...topics);
  }
  stage.send("frontend", "greedy", clientHello("00000000000000bb"));
  stage.send("frontend", "modest", clientHello("00000000000000cc"));
  stage.take("frontend", "greedy");
  stage.take("frontend", "modest");
});

afterEach(() => stage.close());

it("7000 subscriptions in one message, none of which matches anything, hold nobody up", async () => {
  const { topics } = stage.exchange.pubsub;
  const patterns = Array.from({ length: 7000 }, (_, i) => subscribe(i + 1, "*.x"));
  const before = topics.pace.spentCount;
  stage.send("frontend", "greedy", ...patterns);
  expect(stage.take("frontend", "greedy")).toHaveLength(7000);
  // All that they ask for is 7000 times 20,000 nodes.
  expect(topics.pace.spentCount - before).toBeLessThan(walkPaceMax.subscriberMax + BEYOND);
  for (let i = 0; i < 10; i++) {
    const spent = topics.pace.spentCount;
    await turn();
    expect(topics.pace.spentCount - spent).toBeLessThan(walkPaceMax.turnMax + BEYOND);
  }
  stage.send("frontend", "modest", subscribe(1, "t7"));
  await turn();
  expect(stage.take("frontend", "modest")).toMatchObject([
    { kind: "SUBSCRIBED", status: 0 },
    { kind: "EVENT", topic: "t7" },
  ]);
  stage.send("frontend", "greedy", { kind: "BYE" });
  for (let i = 0; i < 3; i++) await turn();
  expect(topics).toMatchObject({ needsTurn: false, subscriptionCount: 1 });
});

it("all of them come to who wants all and reads, over many turns", async () => {
  const { topics } = stage.exchange.pubsub;
  stage.send("frontend", "modest", subscribe(1, ">"));
  const got: Shown[] = [];
  let turns = 0;
  while (topics.needsTurn) {
    const events = stage.take("frontend", "modest").filter(({ kind }) => kind === "EVENT");
    got.push(...events);
    const taken = events.length * 40;
    stage.send("frontend", "modest", { kind: "TAKEN", taken });
    await turn();
    turns++;
  }
  got.push(...stage.take("frontend", "modest"));
  expect(got.map(({ topic }) => topic)).toEqual(Array.from({ length: TOPICS }, (_, i) => `t${i}`));
  expect(turns).toBeGreaterThan(TOPICS / walkPaceMax.subscriberMax);
});
