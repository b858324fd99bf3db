import { PRIORITY_COUNT, PRIORITY_DEFAULT, type ServiceLimits } from "./limits.js";
import { PriorityTurns } from "./priority-turns.js";
import { NONE, type Requests } from "./requests.js";
import { WaitControl } from "./wait-control.js";

/** What one client's turn may take, and a turn of each. */
const TURN_MS = 0.5;
const ROUND_MS = 50;
const TURN_QUANTA_MAX = 16;

/** Clients come to a short queue and go, many thousand a second: so many of them are not made anew. */
const SPARE_WAITERS_MAX = 64;

/** What one client waits for at one service and priority, oldest first. */
interface Flow {
  readonly index: number;
  readonly waiter: Waiter;
  readonly level: Level;
  head: number;
  tail: number;
  /** Bytes that it may still have in this turn; below 0 what it had too much of. */
  balance: number;
  /** Neighbours in the ring of this level's flows. */
  next: Flow;
  previous: Flow;
}

/** One client that waits at this service, or had more than its share there of late. */
export interface Waiter {
  client: number;
  /** Requests of it that wait, those given back among them, and their bytes. */
  count: number;
  bytes: number;
  readonly flows: (Flow | undefined)[];
  flowCount: number;
}

/** The flows of one priority. */
class Level {
  count = 0;
  flowCount = 0;
  /** The flow whose turn it is. */
  turn: Flow | undefined;
  readonly control = new WaitControl();

  constructor(readonly priority: number) {}
}

/**
 * The requests that wait for one service. First those that a dead worker gave back, oldest
 * first; then by priority, and within a priority by client. The highest priority does not starve
 * the others: each sixteenth request comes from below it.
 *
 * Clients share by cost, in turns (deficit round robin of Shreedhar and Varghese, 1995, in the form
 * that lets a flow overdraw and sit out, as Adiseshu, Parulkar and Varghese, 1996): a request costs its
 * bytes, `fairQuantumBytes` at least; each turn earns as much, or up to sixteen times that while requests are
 * fast (`TURN_MS`, `ROUND_MS`): what one client gets in a row goes to it in one batch. With 200 clients of 16 requests
 * each, one in turn of each made batches of two or three replies, and a quarter of the throughput. One request of 64 times
 * the quantum pays for it with 63 quanta of its client. What is owed outlasts the requests, as long as others wait.
 *
 * Every operation takes constant time, whatever waits; `take` besides, over time, one look for each
 * quantum of bytes that it hands out.
 */
export class Queue {
  count = 0;
  bytes = 0;
  /** Whether what `take` returned last is to be refused, since it waited too long. */
  tookStale = false;
  readonly #requests: Requests;
  readonly #limits: ServiceLimits;
  readonly #waiters = new Map<number, Waiter>();
  /** The one found last: a request that comes in is looked up twice, and clients send in batches. */
  #latest: Waiter | undefined;
  readonly #spareWaiters: Waiter[] = [];
  readonly #flows: Flow[] = [];
  readonly #freeFlows: number[] = [];
  readonly #levels: (Level | undefined)[] = new Array(PRIORITY_COUNT).fill(undefined);
  /** The levels at which something waits. */
  #occupied = 0;
  #returnedHead = NONE;
  #returnedTail = NONE;
  readonly #turns = new PriorityTurns();
  /** What a turn that begins now earns. */
  #turnBytes: number;

  constructor(requests: Requests, limits: ServiceLimits) {
    this.#requests = requests;
    this.#limits = limits;
    this.#turnBytes = limits.fairQuantumBytes;
  }

  /** How many requests of this client wait here. */
  clientCount(client: number): number {
    return this.#find(client)?.count ?? 0;
  }

  /** Their bytes. */
  clientBytes(client: number): number {
    return this.#find(client)?.bytes ?? 0;
  }

  /** `client`, of which nothing waits, is gone: what it owes is nobody's, and not of who gets its number next. */
  forget(client: number): void {
    const waiter = this.#find(client);
    if (waiter === undefined) return;
    for (const flow of waiter.flows) if (flow !== undefined) this.#dropFlow(flow);
  }

  /** The clients that wait here, and those that owe. */
  get waiters(): ReadonlyMap<number, Readonly<Waiter>> {
    return this.#waiters;
  }

  /** Whether requests of this priority wait for longer than they should. */
  isOverloaded(priority: number): boolean {
    return this.#levels[priority]?.control.isOverloaded ?? false;
  }

  /** Puts a new request behind those of its client. */
  push(slot: number): void {
    const { client, priority, next, previous, flow: flows } = this.#requests;
    const waiter = this.#requireWaiter(client[slot]);
    const flow = waiter.flows[priority[slot]] ?? this.#addFlow(waiter, priority[slot]);
    flows[slot] = flow.index;
    previous[slot] = flow.tail;
    next[slot] = NONE;
    if (flow.tail === NONE) flow.head = slot;
    else next[flow.tail] = slot;
    flow.tail = slot;
    if (flow.level.count++ === 0) this.#occupied |= 1 << flow.level.priority;
    this.#countIn(waiter, slot);
  }

  #countIn(waiter: Waiter, slot: number): void {
    const bytes = this.#requests.bytes[slot];
    waiter.count++;
    waiter.bytes += bytes;
    this.count++;
    this.bytes += bytes;
  }

  /** Puts a request that a worker gave back before all new ones, behind others given back. */
  pushReturned(slot: number): void {
    const { client, next, previous, flow: flows } = this.#requests;
    // It stands in no flow.
    flows[slot] = NONE;
    previous[slot] = this.#returnedTail;
    next[slot] = NONE;
    if (this.#returnedTail === NONE) this.#returnedHead = slot;
    else next[this.#returnedTail] = slot;
    this.#returnedTail = slot;
    this.#countIn(this.#requireWaiter(client[slot]), slot);
  }

  /** Takes the next request out, or NONE. `ratePerMs`: how many are served of late; 0 if not known. */
  take(nowMs: number, ratePerMs: number): number {
    this.tookStale = false;
    const slot = this.#peek(nowMs, ratePerMs);
    if (slot !== NONE) this.remove(slot);
    return slot;
  }

  /** Takes out a request wherever it stands. */
  remove(slot: number): void {
    const { next, previous, flow: flows } = this.#requests;
    const after = next[slot];
    const before = previous[slot];
    if (after !== NONE) previous[after] = before;
    if (before !== NONE) next[before] = after;
    next[slot] = NONE;
    previous[slot] = NONE;
    const bytes = this.#requests.bytes[slot];
    this.count--;
    this.bytes -= bytes;
    if (flows[slot] === NONE) {
      if (before === NONE) this.#returnedHead = after;
      if (after === NONE) this.#returnedTail = before;
      const waiter = this.#waiters.get(this.#requests.client[slot]) as Waiter;
      waiter.count--;
      waiter.bytes -= bytes;
      this.#forgetIfGone(waiter);
      return;
    }
    const flow = this.#flows[flows[slot]];
    flow.waiter.count--;
    flow.waiter.bytes -= bytes;
    if (before === NONE) flow.head = after;
    if (after === NONE) flow.tail = before;
    if (--flow.level.count === 0) this.#clearLevel(flow.level);
    else if (flow.head === NONE && flow.balance >= 0) this.#dropFlow(flow);
  }

  #peek(nowMs: number, ratePerMs: number): number {
    if (this.#returnedHead !== NONE) return this.#returnedHead;
    if (this.#occupied === 0) return NONE;
    const priority = this.#turns.next(this.#occupied);
    const level = this.#levels[priority] as Level;
    this.#turnBytes = this.#limits.fairQuantumBytes * turnQuanta(level.flowCount, ratePerMs);
    const flow = this.#nextFlow(level);
    const oldest = flow.head;
    if (this.#isStale(level, oldest, nowMs, ratePerMs) && priority >= PRIORITY_DEFAULT) {
      // Neither its client's turn nor its level's: it is not served.
      this.#turns.undo();
      this.tookStale = true;
      return oldest;
    }
    const isNewest = level.control.isOverloaded && this.#limits.queueOrder !== "fifo";
    const slot = isNewest ? flow.tail : oldest;
    flow.balance -= Math.max(this.#requests.bytes[slot], this.#limits.fairQuantumBytes);
    if (flow.balance <= 0) level.turn = this.#begin(flow.next);
    return slot;
  }

  /** Whether `slot`, the oldest of a flow of `level`, waited too long to be served. */
  #isStale(level: Level, slot: number, nowMs: number, ratePerMs: number): boolean {
    // Nobody waits for a task so that it could come too late.
    if (this.#requests.tasks.has(slot)) return false;
    if (this.count <= this.#limits.queueShortCount) {
      level.control.rest();
      return false;
    }
    const waitedMs = nowMs - this.#requests.sinceMs[slot];
    // A client that had nothing waiting is soon in turn, however long the queue: the wait that says
    // whether it stands is that of one who stood behind all.
    const standingMs = ratePerMs > 0 ? Math.max(waitedMs, level.count / ratePerMs) : waitedMs;
    return level.control.judge(waitedMs, standingMs, nowMs, this.#limits);
  }

  /** The flow to serve next: the first in turn that owes nothing. Something waits at `level`. */
  #nextFlow(level: Level): Flow {
    let flow = level.turn as Flow;
    while (flow.balance <= 0 || flow.head === NONE) {
      const { next } = flow;
      level.turn = this.#begin(next);
      // Paid for, and nothing waits: a flow that was kept for its debt.
      if (flow.head === NONE && flow.balance >= 0) this.#dropFlow(flow);
      flow = next;
    }
    return flow;
  }

  /** The turn of `flow` begins. What is not used in a turn is lost. */
  #begin(flow: Flow): Flow {
    const quantum = this.#turnBytes;
    // Alone, it owes nobody.
    flow.balance = flow.next === flow ? quantum : Math.min(flow.balance + quantum, quantum);
    return flow;
  }

  #find(client: number): Waiter | undefined {
    if (this.#latest?.client === client) return this.#latest;
    const found = this.#waiters.get(client);
    if (found !== undefined) this.#latest = found;
    return found;
  }

  #requireWaiter(client: number): Waiter {
    const known = this.#find(client);
    if (known !== undefined) return known;
    const waiter = this.#spareWaiters.pop() ?? newWaiter();
    waiter.client = client;
    this.#waiters.set(client, waiter);
    return waiter;
  }

  #forgetIfGone(waiter: Waiter): void {
    if (waiter.count > 0 || waiter.flowCount > 0) return;
    this.#waiters.delete(waiter.client);
    if (this.#latest === waiter) this.#latest = undefined;
    if (this.#spareWaiters.length < SPARE_WAITERS_MAX) this.#spareWaiters.push(waiter);
  }

  #addFlow(waiter: Waiter, priority: number): Flow {
    this.#levels[priority] ??= new Level(priority);
    const level = this.#levels[priority];
    const index = this.#freeFlows.pop() ?? this.#flows.length;
    const flow = { index, waiter, level, head: NONE, tail: NONE, balance: 0 } as Flow;
    level.flowCount++;
    const { turn } = level;
    if (turn === undefined) {
      flow.next = flow;
      flow.previous = flow;
      level.turn = this.#begin(flow);
    } else {
      // Behind all others: its turn comes after each of them had one.
      flow.next = turn;
      flow.previous = turn.previous;
      turn.previous.next = flow;
      turn.previous = flow;
    }
    this.#flows[index] = flow;
    waiter.flows[priority] = flow;
    waiter.flowCount++;
    return flow;
  }

  #dropFlow(flow: Flow): void {
    const { level, waiter } = flow;
    this.#freeFlows.push(flow.index);
    waiter.flows[level.priority] = undefined;
    waiter.flowCount--;
    level.flowCount--;
    this.#forgetIfGone(waiter);
    if (flow.next === flow) {
      level.turn = undefined;
      return;
    }
    flow.previous.next = flow.next;
    flow.next.previous = flow.previous;
    if (level.turn === flow) level.turn = this.#begin(flow.next);
  }

  /** Nothing waits at `level`: debts are forgotten, since nobody is kept waiting by them. */
  #clearLevel(level: Level): void {
    this.#occupied &= ~(1 << level.priority);
    level.control.rest();
    while (level.turn !== undefined) this.#dropFlow(level.turn);
  }
}

/** How many quanta a turn has while so many clients wait and so many requests are served, not known: 0. */
function turnQuanta(flowCount: number, ratePerMs: number): number {
  const quanta = Math.floor(ratePerMs * Math.min(TURN_MS, ROUND_MS / flowCount));
  return Math.min(Math.max(quanta, 1), TURN_QUANTA_MAX);
}

function newWaiter(): Waiter {
  const flows = new Array(PRIORITY_COUNT).fill(undefined);
  return { client: NONE, count: 0, bytes: 0, flows, flowCount: 0 };
}
