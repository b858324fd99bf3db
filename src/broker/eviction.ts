import type { Access } from "../base/access.js";
import { Status, type StatusCode } from "../base/status.js";
import { NO_RECORD, QUEUE_PREFIX } from "../wire/layout.js";
import type { Exchange } from "./exchange.js";
import type { Port } from "./port.js";

/** Tells a native peer why it is cut off, and forgets it. Cutting is the port's. */
export function evict(
  exchange: Exchange,
  port: Port,
  routingId: Buffer,
  status: StatusCode,
  reason: string,
): void {
  const { peers } = exchange;
  const peer = peers.ofRoute(port, routingId);
  if (peer === undefined) return;
  exchange.begin();
  if (peer.role === "client" || peer.role === "worker") {
    exchange.tell(port, routingId, peer, { status, reason, record: NO_RECORD });
  }
  // Out before it is forgotten with all that it is owed.
  exchange.onTurn();
  if (peers.at(peer.index) === peer) exchange.leave(peer);
  exchange.onTurn();
}

/**
 * Cuts off workers that serve what their key may serve no longer; returns how many. What others hold
 * and may not have any more ends.
 */
export function recheck(exchange: Exchange): number {
  let count = 0;
  exchange.pubsub.plain?.recheck();
  for (const peer of [...exchange.peers]) {
    const { access, port, routingId, plainWorker } = peer;
    if (access === undefined || plainWorker?.isEnded) continue;
    for (const pattern of exchange.patterns) pattern.recheck?.(peer);
    const services = exchange.core.worker(peer.index)?.pool.services ?? [];
    const reason = lostWork(access, services);
    if (reason === undefined) continue;
    count++;
    if (port !== undefined) {
      evict(exchange, port, routingId, Status.PERMISSION_DENIED, reason);
      port.cut(routingId);
    }
    plainWorker?.close();
  }
  exchange.onTurn();
  return count;
}

/** Why a worker may no longer do what it does: the services of the core, queues among them. */
function lostWork(access: Access, services: readonly { name: string }[]): string | undefined {
  for (const { name } of services) {
    const reason = name.startsWith(QUEUE_PREFIX)
      ? access.denial("pull", name.slice(QUEUE_PREFIX.length))
      : access.denial("serve", name);
    if (reason !== undefined) return reason;
  }
  return undefined;
}
