import { readFileSync } from "node:fs";
import type { Dealer, Router, Socket } from "zeromq";
import { type AccessSpec, AccessTable } from "../base/access.js";
import { curveKey } from "../base/check.js";
import { Status } from "../base/status.js";
import { CurveDoor, type CurveDoorOptions, type CurveRefusal } from "./curve-door.js";
import { CurvePort } from "./curve-port.js";
import type { Exchange, Side } from "./exchange.js";
import { Zap } from "./zap.js";
import type { PortOptions } from "./zmq-port.js";

/** The broker's key pair, in Z85, and who may come in. */
export interface BrokerCurve {
  publicKey: string;
  secretKey: string;
  /** The path of an access file, or what one holds. */
  access: string | AccessSpec;
}

/** Something refused: a connection, or what a peer asked. */
export interface SecurityEvent {
  status: "UNAUTHENTICATED" | "PERMISSION_DENIED";
  /** In a word: `unauthenticated`, `mechanism`, `hello-refused`, `revoked`, .. or `denied`. */
  what: string;
  /** What happened, in words. */
  reason: string;
  /** The public key, Z85, and what the access file calls it; "" where none was shown. */
  key: string;
  name: string;
  /** Where the connection came from; "" where it is known by its key alone. */
  remote: string;
}

/** What a reload of the access file came to. */
export interface ReloadResult {
  /** Keys that may connect now. */
  keyCount: number;
  /** Connections cut off: their key is gone, or their worker serves what it no longer may. */
  cutCount: number;
}

export interface CurveGateOptions extends PortOptions {
  connectionsMax: number;
  onSecurity?: (event: SecurityEvent) => void;
}

/** What is worth a line in a log, in words. What anybody can bring about by the thousand is counted. */
const REASONS = {
  mechanism: "it does not use CURVE",
  "hello-malformed": "its first command is not CURVE's HELLO",
  "hello-refused": "its HELLO was not made for this broker's public key",
  unauthenticated: "this key may not connect",
  revoked: "this key may no longer connect",
} as const;

/** A listener, whatever sockets it makes. */
type Door = Pick<
  CurveDoor<Socket>,
  "endpoint" | "refusalCounts" | "connectionCount" | "recheck" | "close"
>;

/** The listeners of a broker under CURVE: who comes in, and what each may do. */
export class CurveGate {
  readonly ports: Readonly<Record<Side, CurvePort>>;
  readonly doors: Door[] = [];
  readonly #sides = new Map<Door, Side>();
  readonly #curve: BrokerCurve;
  readonly #options: CurveGateOptions;
  readonly #exchange: Exchange;
  readonly #table: AccessTable;
  readonly #zap: Zap;

  /** Throws TypeError or Error of one line for keys or an access file that are none. */
  constructor(curve: BrokerCurve, exchange: Exchange, options: CurveGateOptions) {
    this.#curve = curve;
    this.#exchange = exchange;
    this.#options = options;
    curveKey("curve.publicKey", curve.publicKey);
    curveKey("curve.secretKey", curve.secretKey);
    this.#table = readAccess(curve.access, (spec) => {
      return new AccessTable(spec, ({ key, name, action, what }) => {
        exchange.faults.denied++;
        const reason = `${name} may not ${action} ${what}`;
        const status = "PERMISSION_DENIED";
        this.#tell({ status, what: "denied", reason, key, name, remote: "" });
      });
    });
    this.ports = { frontend: this.#makePort("frontend"), backend: this.#makePort("backend") };
    this.#zap = Zap.acquire();
  }

  connectionsOf(side: Side): number {
    const doors = this.doors.filter((door) => this.#sides.get(door) === side);
    return doors.reduce((sum, door) => sum + door.connectionCount, 0);
  }

  /**
   * Listens for sockets of another kind, one for each connection. Who has no key is refused here as
   * everywhere, who may not do what `right` says is not let in yet; what else its key may do, `onOpen` asks. Where
   * `isPatient`, a peer may hold still for as long as it likes. Resolves with the endpoint and its real port.
   */
  async listenFor<S extends Socket>(
    endpoint: string,
    {
      makeSocket,
      onOpen,
      right,
      isPatient = false,
    }: Pick<CurveDoorOptions<S>, "makeSocket" | "onOpen" | "right"> & { isPatient?: boolean },
  ): Promise<string> {
    const { handshakeTimeoutMs, heartbeatTimeoutMs, connectionsMax } = this.#options;
    const door = await CurveDoor.listen<S>({
      endpoint,
      secretKey: this.#curve.secretKey,
      zap: this.#zap,
      handshakeTimeoutMs,
      stallTimeoutMs: isPatient ? 0 : heartbeatTimeoutMs,
      connectionsMax,
      right,
      find: (key) => this.#table.find(key),
      makeSocket,
      onOpen,
      onRefused: (what, remote, key, name) => this.#onRefused(what, remote, key, name),
    });
    this.doors.push(door);
    return door.endpoint;
  }

  /** Listens for one side of the broker; resolves with the endpoint and its real port. */
  async listen(side: Side, endpoint: string): Promise<string> {
    const port = this.ports[side];
    const at = await this.listenFor<Router | Dealer>(endpoint, {
      makeSocket: (security) => port.makeSocket(security),
      onOpen: (channel) => port.add(channel),
    });
    this.#sides.set(this.doors[this.doors.length - 1], side);
    return at;
  }

  /**
   * Takes another access file, or the same one as it is now. Whoever may still be here stays; the
   * others are told and cut off. Throws where it cannot be read, and changes nothing.
   */
  reload(access: string | AccessSpec = this.#curve.access): ReloadResult {
    readAccess(access, (spec) => this.#table.replace(spec));
    let cutCount = 0;
    for (const port of Object.values(this.ports)) {
      for (const [routingId, channel] of [...port.lines()]) {
        const { access: held } = channel;
        if (held === undefined || this.#table.find(held.key) === held) continue;
        channel.refuse("revoked");
        this.#exchange.evict(port, routingId, Status.UNAUTHENTICATED, REASONS.revoked);
        port.cut(routingId);
        cutCount++;
      }
    }
    // First: whoever it cuts off is not to be cut off, and counted, once more.
    cutCount += this.#exchange.recheck();
    // Those of the ports above are told, and their connections end a little later.
    for (const door of this.doors) if (!this.#sides.has(door)) cutCount += door.recheck();
    return { keyCount: this.#table.keyCount, cutCount };
  }

  async close({ lingerMs = 0 } = {}): Promise<void> {
    for (const port of Object.values(this.ports)) port.close(lingerMs);
    await Promise.all(this.doors.map((door) => door.close({ lingerMs })));
    this.#zap.release();
  }

  #makePort(side: Side): CurvePort {
    const exchange = this.#exchange;
    const port: CurvePort = new CurvePort(
      this.#options,
      {
        onMessage: (frames) => exchange.onMessage(side, port, frames),
        onTurn: () => exchange.onTurn(),
        onUnreachable: (outbox, isUnread) => exchange.onUnreachable(outbox, isUnread),
      },
      side === "frontend"
        ? undefined
        : {
            onPlainWorker: (worker) => exchange.plain.onWorker(worker),
            onPlainReply: (worker, parts) => exchange.plain.onReply(worker, parts),
            onPlainGone: (worker) => exchange.plain.onGone(worker),
            onPlainMistaken: (worker) => exchange.plain.onMistaken(worker),
          },
    );
    exchange.addPort(port);
    return port;
  }

  #onRefused(what: CurveRefusal, remote: string, key = "", name = ""): void {
    if (!Object.hasOwn(REASONS, what)) return;
    const reason = REASONS[what as keyof typeof REASONS];
    this.#tell({ status: "UNAUTHENTICATED", what, reason, key, name, remote });
  }

  #tell(event: SecurityEvent): void {
    this.#options.onSecurity?.(event);
  }
}

/** Takes what `access` is, or what the file at that path holds; errors name the file. */
function readAccess<T>(access: string | AccessSpec, take: (spec: unknown) => T): T {
  if (typeof access !== "string") return take(access);
  let text: string;
  try {
    text = readFileSync(access, "utf8");
  } catch (error) {
    throw new Error(`access file ${access}: cannot be read: ${(error as Error).message}`);
  }
  try {
    return take(JSON.parse(text));
  } catch (error) {
    throw new TypeError(`access file ${access}: ${(error as Error).message}`);
  }
}
