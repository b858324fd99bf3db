// What the model expects of order: which request is next, and which worker gets it. A new discipline of
// the queue is a change here.
import type { Books, ModelRequest, ModelWorker } from "./books.ts";
import { must } from "./log.ts";

/**
 * The order that is promised: what a worker gave back goes first, in the order it was handed out;
 * then, of one client's requests for one service and priority, the one that came first, or, where
 * `queueOrder` says so and they wait too long, the one that came last.
 */
export function checkOrder(books: Books, request: ModelRequest): void {
  const returned = books.returned.get(request.service)!;
  if (returned.length > 0) {
    must(returned[0] === request, `${request.name} handed out before ${returned[0].name}`);
    returned.shift();
    return;
  }
  const flow = books
    .queue(request.service)
    .filter(({ client, priority }) => client === request.client && priority === request.priority);
  // A request that finds a worker at once stands in no line.
  if (flow.length === 0) return;
  const { queue } = books.core.registry.services.get(request.service)!;
  // With the last of its level the overload is over, but then it is the oldest too.
  const mayBeNewest = books.limits.queueOrder !== "fifo" && queue.isOverloaded(request.priority);
  if (request !== flow[0] && mayBeNewest) {
    books.meet("newest first");
    must(request === flow.at(-1), `${request.name} is neither the oldest nor the newest`);
    return;
  }
  must(request === flow[0], `${request.name} handed out before ${flow[0]?.name}`);
}

/**
 * The worker: one with room, and unless its handlers take microseconds none idler beside it, and look-ahead only
 * where nobody is idle.
 */
export function checkChoice(books: Books, worker: ModelWorker, request: ModelRequest): void {
  const { peer, held, concurrency } = worker;
  const { lookAhead, run, runService } = books.core.worker(peer)!;
  must(worker.takesLookAhead || lookAhead === 0, `${peer} takes no look-ahead`);
  must(lookAhead <= books.limits.lookAheadMax, `look-ahead of ${lookAhead}`);
  must(held.size < concurrency + lookAhead, `${peer} has no room`);
  must(run === 1 || lookAhead >= run - 1, `${peer} has a run beyond its look-ahead`);
  // By its own word it is done with a few before another has begun.
  const { index } = books.core.registry.services.get(request.service)!;
  if (run > 1 && runService === index) return books.meet("run");
  for (const other of books.workers.values()) {
    if (other === worker || other.draining || !other.services.includes(request.service)) continue;
    // The worker of this step's answer has its credit back, and place, before any is fed.
    if (other.held.size >= other.concurrency) continue;
    must(held.size < concurrency, `${peer} looks ahead while ${other.peer} has free concurrency`);
    must(held.size <= other.held.size, `${peer} is not the one with fewest in flight`);
  }
}
