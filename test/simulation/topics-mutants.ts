// Bugs on purpose in core/topics; see mutants.ts.
import { loadMutated, type Mutant } from "./mutants.ts";
import type { TopicsClass } from "./topics.ts";

const mutant = (name: string, file: string, find: string, replace: string): Mutant => {
  return { name, file: `topics/${file}`, find, replace, seedsMax: 40 };
};

export const topicsMutants: readonly Mutant[] = [
  mutant("past-those-that-wait", "topics.js", "subscriber.isIdle && ", ""),
  mutant(
    "drop-without-a-word",
    "topics.js",
    "                subscription.dropped++;\n                this.counts.droppedOldest++;",
    "                this.counts.droppedOldest++;",
  ),
  mutant("drop-too-soon", "topics.js", "queue.count >= queueMax", "queue.count + 1 >= queueMax"),
  mutant(
    "beyond-the-window",
    "topics.js",
    "outstanding <= UNTOLD_BYTES_MAX",
    "outstanding <= 2 * UNTOLD_BYTES_MAX",
  ),
  mutant("told-again", "topics.js", "        subscription.dropped = 0;\n", ""),
  mutant(
    "forget-whose-turn-it-is",
    "topics.js",
    "            if (subscription.queue.count > 0)\n                subscriber.waiting.add(subscription);\n            this.#deliver",
    "            this.#deliver",
  ),
  mutant("old-listeners", "topics.js", "known?.epoch === this.#epoch", "known !== undefined"),
  mutant("kept-twice", "topics.js", " && version <= sinceVersion", ""),
  mutant("found-and-forgotten", "topics.js", "            subscription.found = next;\n", ""),
  mutant("turn-without-end", "walk-pace.js", "this.#waiting.add(walker);", ""),
  mutant(
    "more-than-one-walk",
    "topics.js",
    "subscription.walk ??= this.retained",
    "subscription.walk = this.retained",
  ),
  mutant(
    "kept-behind-events",
    "topics.js",
    "if (catching !== undefined) {",
    "if (catching !== undefined && subscriber.waiting.size === 0) {",
  ),
  mutant("bytes-once-for-each", "topics.js", "if (--event.holds === 0)", "if (--event.holds >= 0)"),
  mutant(
    "rest-matches-nothing-left",
    "pattern-trie.js",
    "        if (node.anyRest !== undefined)\n            append(node.anyRest, found);\n",
    "",
  ),
  mutant(
    "nodes-remain",
    "pattern-trie.js",
    "            this.nodeCount--;\n            node = node.parent;",
    "            node = undefined;",
  ),
  mutant("kept-bytes-add-up", "retained.js", " - (value.event?.bytes ?? 0);", ";"),
  mutant("kept-nodes-add-up", "retained.js", "            this.nodeCount--;\n", ""),
  mutant("patterns-add-up", "subscription-room.js", "holder.subscriptionBytes += bytes", "holder"),
];

export async function loadTopicsMutant(one: Mutant): Promise<TopicsClass> {
  const { Topics } = await loadMutated(one, "topics/topics.js");
  return Topics as TopicsClass;
}
