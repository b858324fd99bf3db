// What the model expects of order: which request is next, and which worker gets it. A new discipline of
// the queue is a change here.
import type { Books, ModelRequest, ModelWorker } from "./books.ts";
import { must } from "./log.ts";

/**
 * The order that is promised: what a worker gave back goes first, in the order it was handed out;
 * then, of one client's requests for one service and priority, the one that came first.
 */
export function checkOrder(books: Books, request: ModelRequest): void {
  const returned = books.returned.get(request.service)!;
  if (returned.length > 0) {
    must(returned[0] === request, `${request.name} handed out before ${returned[0].name}`);
    returned.shift();
    return;
  }
  for (const other of books.queue(request.service)) {
    if (other.client !== request.client || other.priority !== request.priority) continue;
    must(other === request, `${request.name} handed out before ${other.name}`);
    return;
  }
}

/** The worker: one with room, none idler beside it, and look-ahead only where nobody is idle. */
export function checkChoice(books: Books, worker: ModelWorker, request: ModelRequest): void {
  const { peer, held, concurrency } = worker;
  const { lookAhead } = books.core.worker(peer)!;
  must(worker.takesLookAhead || lookAhead === 0, `${peer} takes no look-ahead`);
  must(lookAhead <= books.limits.lookAheadMax, `look-ahead of ${lookAhead}`);
  must(held.size < concurrency + lookAhead, `${peer} has no room`);
  for (const other of books.workers.values()) {
    if (other === worker || other.draining || !other.services.includes(request.service)) continue;
    // The worker of this step's answer has its credit back, and place, before any is fed.
    if (other.held.size >= other.concurrency) continue;
    must(held.size < concurrency, `${peer} looks ahead while ${other.peer} has free concurrency`);
    must(held.size <= other.held.size, `${peer} is not the one with fewest in flight`);
  }
}
