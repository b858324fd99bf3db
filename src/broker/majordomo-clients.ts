import { Status, type StatusCode } from "../base/status.js";
import { PRIORITY_DEFAULT } from "../core/limits.js";
import { Flag } from "../wire/layout.js";
import { type Dialect, type MajordomoCommand, replyToClient } from "../wire/majordomo.js";
import { bytesOf, copyOf, type HeldRecord } from "../wire/request-record.js";
import { NameCache } from "../wire/text.js";
import { ownFrames } from "./bodies.js";
import { ClientGrants } from "./client-grants.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";
import type { PlainPeers } from "./plain-peers.js";
import type { Port } from "./port.js";
import { bodyFault, rawRequest } from "./raw-records.js";

/** The names that the broker answers for itself (rfc.zeromq.org/spec/8). */
export const MANAGEMENT_PREFIX = "mmi.";
/** What a request that is kept back counts for beside its bytes. */
const KEPT_COST = 256;
/** How soon a request that the core has no room for is tried again, at least. */
const RETRY_MS_MIN = 20;

/** A request that is not the core's yet. */
interface Question {
  readonly sequence: number;
  readonly service: string;
  readonly held: HeldRecord;
  next: Question | undefined;
}

class MajordomoClient {
  /** What the core lets it have in flight. */
  credit: number;
  /** What is kept back, oldest first. */
  first: Question | undefined;
  last: Question | undefined;
  keptCount = 0;
  keptBytes = 0;
  isDue = false;
  /** Not before, after a refusal. */
  retryAtMs = 0;

  constructor(
    readonly peer: Peer,
    readonly dialect: Dialect,
    credit: number,
  ) {
    this.credit = credit;
  }
}

/**
 * Clients of the Majordomo protocol. It knows neither failures nor credit: a program may send a
 * hundred thousand requests and then wait for as many replies. So the broker does for them what native
 * clients do for themselves: it keeps back what is more than a short queue (`queueShortCount`), or than
 * the core's credit for this client, and tries again what the core had no room for. What ends
 * without a reply is not answered: such a client times out, and asks again or gives up.
 */
export class MajordomoClients {
  /** Requests that ended without a reply, of which nobody was told. */
  unanswered = 0;
  readonly #host: Host;
  readonly #plain: PlainPeers;
  readonly #grants: ClientGrants;
  readonly #names = new NameCache();
  readonly #clients = new Map<Peer, MajordomoClient>();
  #due: MajordomoClient[] = [];
  /** Those that have something to try again later. */
  readonly #later = new Set<MajordomoClient>();
  #keptCount = 0;
  #keptBytes = 0;
  /** The request that the core is being asked, and whether it had no room: when to try again, in ms. */
  #asking: { peer: number; sequence: number; retryAfterMs: number } | undefined;

  constructor(host: Host, plain: PlainPeers) {
    this.#host = host;
    this.#plain = plain;
    this.#grants = new ClientGrants(host);
  }

  // --- in ---

  /** A message of `known`, or of a stranger at the frontend. */
  onMessage(
    port: Port,
    routingId: Buffer,
    known: Peer | undefined,
    dialect: Dialect,
    command: MajordomoCommand,
  ): void {
    const { faults, limits } = this.#host;
    const client = known === undefined ? undefined : this.#clients.get(known);
    if (known !== undefined && !isSame(client?.dialect, dialect)) {
      faults.role++;
      return;
    }
    const service =
      command.kind === "request"
        ? this.#names.read(command.service, 0, command.service.length)
        : undefined;
    if (command.kind !== "request" || service === undefined || bodyFault(command.body, limits)) {
      faults.malformed++;
      return;
    }
    const access = known === undefined ? port.accessOf(routingId) : known.access;
    const isManagement = service.startsWith(MANAGEMENT_PREFIX);
    if (!isManagement && access?.denial("call", service) !== undefined) {
      this.unanswered++;
      return;
    }
    const asker = client ?? this.#welcome(port, routingId, dialect);
    if (isManagement) return this.#manage(asker, service, command.service, command.body);
    const { peer } = asker;
    const sequence = ++peer.sequence;
    const flags = dialect.version === 2 ? Flag.STREAM : 0;
    const held = rawRequest(peer, sequence, command.service, command.body, flags);
    const question: Question = { sequence, service, held, next: undefined };
    if (asker.first !== undefined || this.#room(asker) <= 0) this.#keep(asker, question);
    else this.#ask(asker, question);
  }

  #welcome(port: Port, routingId: Buffer, dialect: Dialect): MajordomoClient {
    const peer = this.#plain.welcomeClient(port, routingId, "mdp-client");
    const client = new MajordomoClient(peer, dialect, this.#host.limits.clientInFlightMax);
    this.#clients.set(peer, client);
    return client;
  }

  /**
   * MMI: "200" for a service that some worker serves and that this client may call, "404" for any other; "501"
   * for what else is asked.
   */
  #manage(
    { peer, dialect }: MajordomoClient,
    service: string,
    serviceBytes: Uint8Array,
    body: readonly Uint8Array[],
  ): void {
    let code = "501";
    if (service === "mmi.service") {
      const asked = body[body.length - 1];
      const name = this.#names.read(asked, 0, asked.length);
      const known = name === undefined ? undefined : this.#host.core.registry.services.get(name);
      const isSeen = known?.isServed === true && peer.access?.may("call", known.name) !== false;
      code = isSeen ? "200" : "404";
    }
    // Of its own: it is sent when the message that it came in is gone.
    const echo = Buffer.from(serviceBytes);
    peer.outbox.push(replyToClient(dialect, echo, [Buffer.from(code)]));
    peer.due();
  }

  #room({ peer, credit }: MajordomoClient): number {
    const { core, limits } = this.#host;
    const inFlight = core.client(peer.index)?.inFlight ?? 0;
    return Math.min(credit, limits.queueShortCount) - inFlight;
  }

  #ask(client: MajordomoClient, question: Question): void {
    const { peer, dialect } = client;
    const { sequence, service, held } = question;
    // A worker that has one reply to give gives it.
    const stream = dialect.version === 2 ? "once" : undefined;
    this.#host.delivery.current = held;
    this.#asking = { peer: peer.index, sequence, retryAfterMs: 0 };
    this.#host.step({
      kind: "request",
      peer: peer.index,
      sequence,
      service,
      timeoutMs: 0,
      attempts: 0,
      priority: PRIORITY_DEFAULT,
      bytes: bytesOf(held),
      stream,
    });
    if (stream !== undefined) this.#grants.begin(peer, sequence);
    const { retryAfterMs } = this.#asking;
    this.#asking = undefined;
    if (retryAfterMs > 0) this.#keepFirst(client, question, retryAfterMs);
  }

  // --- what is kept back ---

  #keep(client: MajordomoClient, question: Question): void {
    const own = this.#owned(client, question);
    if (own === undefined) return;
    if (client.last === undefined) client.first = own;
    else client.last.next = own;
    client.last = own;
  }

  #keepFirst(client: MajordomoClient, question: Question, retryAfterMs: number): void {
    const own = this.#owned(client, question);
    if (own !== undefined) {
      own.next = client.first;
      client.first = own;
      client.last ??= own;
    }
    client.retryAtMs = this.#host.delivery.nowMs + Math.max(retryAfterMs, RETRY_MS_MIN);
    if (client.first !== undefined) this.#later.add(client);
  }

  /**
   * `question` in memory of its own, counted; undefined where there is no room for it. One client may
   * keep up to `queueShare` times what is still free, as in a queue.
   */
  #owned(client: MajordomoClient, { sequence, service, held }: Question): Question | undefined {
    const { requestsMax, queueBytesMax, queueShare } = this.#host.limits;
    const cost = bytesOf(held) + KEPT_COST;
    const countFree = requestsMax - this.#keptCount;
    const bytesFree = queueBytesMax - this.#keptBytes;
    if (
      client.keptCount >= countFree * queueShare ||
      client.keptBytes + cost > bytesFree * queueShare ||
      cost > bytesFree
    ) {
      this.unanswered++;
      return undefined;
    }
    this.#count(client, 1, cost);
    const bytes = copyOf(held.bytes, held.at, held.at + held.size);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const own = { bytes, view, at: 0, size: held.size, frames: ownFrames(held.frames) };
    return { sequence, service, held: own, next: undefined };
  }

  #count(client: MajordomoClient, count: number, bytes: number): void {
    client.keptCount += count;
    client.keptBytes += bytes;
    this.#keptCount += count;
    this.#keptBytes += bytes;
  }

  /** Whether `feed` has something to do. */
  get isDue(): boolean {
    return this.#due.length > 0 || this.#grants.isDue;
  }

  /** Grants more of streams, and asks what is kept back, as far as there is room. */
  feed(): void {
    this.#grants.feed();
    for (let client = this.#due.pop(); client !== undefined; client = this.#due.pop()) {
      client.isDue = false;
      if (this.#clients.get(client.peer) === client) this.#feed(client);
    }
  }

  #feed(client: MajordomoClient): void {
    while (client.first !== undefined && this.#room(client) > 0) {
      if (this.#host.delivery.nowMs < client.retryAtMs) return;
      const question = client.first;
      client.first = question.next;
      if (client.first === undefined) client.last = undefined;
      this.#count(client, -1, -(bytesOf(question.held) + KEPT_COST));
      // Its key may have lost the service since.
      if (client.peer.access?.denial("call", question.service) !== undefined) this.unanswered++;
      else this.#ask(client, question);
    }
  }

  #markDue(client: MajordomoClient): void {
    if (client.isDue || client.first === undefined) return;
    client.isDue = true;
    this.#due.push(client);
  }

  /** Whether time matters. */
  get needsTick(): boolean {
    return this.#later.size > 0 || this.#grants.needsTick;
  }

  onTick(nowMs: number): void {
    this.#grants.onTick();
    for (const client of this.#later) {
      if (nowMs < client.retryAtMs) continue;
      this.#later.delete(client);
      this.#markDue(client);
    }
  }

  // --- out: called while the core steps ---

  /** Whether `peer` is told of a reply's parts as they come. */
  takesParts(peer: Peer | undefined): boolean {
    return peer !== undefined && this.#clients.get(peer)?.dialect.version === 2;
  }

  /** The message that takes a reply, or a part of one, to `peer`. */
  replyTo(peer: Peer, service: Uint8Array, body: readonly Uint8Array[], isPart: boolean) {
    const client = this.#clients.get(peer) as MajordomoClient;
    if (!isPart) this.#markDue(client);
    return replyToClient(client.dialect, service, body, isPart);
  }

  /** The same, of a part that a native worker streams. */
  streamPartTo(peer: Peer, slot: number, service: Uint8Array, body: readonly Uint8Array[]) {
    this.#grants.onPart(peer, slot);
    return this.replyTo(peer, service, body, true);
  }

  onFail(peer: Peer, sequence: number, status: StatusCode, retryAfterMs: number): void {
    const asking = this.#asking;
    const isAsked = asking?.peer === peer.index && asking.sequence === sequence;
    if (isAsked && status === Status.RESOURCE_EXHAUSTED && retryAfterMs > 0) {
      asking.retryAfterMs = retryAfterMs;
      return;
    }
    this.unanswered++;
    this.#markDue(this.#clients.get(peer) as MajordomoClient);
  }

  onCredit(peer: Peer, inFlightMax: number): void {
    const client = this.#clients.get(peer) as MajordomoClient;
    client.credit = inFlightMax;
    this.#markDue(client);
  }

  onLeave(peer: Peer): void {
    const client = this.#clients.get(peer);
    if (client === undefined) return;
    this.#clients.delete(peer);
    this.#later.delete(client);
    this.#count(client, -client.keptCount, -client.keptBytes);
    client.first = undefined;
  }
}

function isSame(one: Dialect | undefined, other: Dialect): boolean {
  return one?.version === other.version && one.isDelimited === other.isDelimited;
}
