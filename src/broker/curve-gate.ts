import { readFileSync } from "node:fs";
import { type AccessSpec, AccessTable } from "../base/access.js";
import { curveKey } from "../base/check.js";
import { Status } from "../base/status.js";
import { CurveBox } from "../zmtp/curve-box.js";
import { Turns } from "../zmtp/turns.js";
import type { Acceptor, PortCurve, PortRefusal } from "./acceptor.js";
import { evict, recheck } from "./eviction.js";
import type { Exchange } from "./exchange.js";
import type { NetPort } from "./net-port.js";

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

export interface CurveGateOptions {
  onSecurity?: (event: SecurityEvent) => void;
}

/** What is worth a line in a log, in words. What anybody can bring about by the thousand is counted. */
const REASONS = {
  mechanism: "it does not use CURVE",
  "hello-malformed": "its first command is not CURVE's HELLO",
  "hello-refused": "its HELLO was not made for this broker's public key",
  "initiate-refused": "its INITIATE does not prove a key",
  "message-refused": "a message was not sealed for its connection, or came twice",
  unauthenticated: "this key may not connect",
  revoked: "this key may no longer connect",
} as const;

/** A broker under CURVE: who comes in at its ports, and what each may do. */
export class CurveGate {
  readonly forPorts: PortCurve;
  readonly #ports: NetPort[] = [];
  readonly #acceptors: Acceptor[] = [];
  /** What was taken last, so that it is not another that is taken again. */
  #access: string | AccessSpec;
  readonly #options: CurveGateOptions;
  readonly #exchange: Exchange;
  readonly #table: AccessTable;

  /** Rejects with TypeError or Error of one line for keys or an access file that are none. */
  static async open(
    curve: BrokerCurve,
    exchange: Exchange,
    options: CurveGateOptions,
  ): Promise<CurveGate> {
    curveKey("curve.publicKey", curve.publicKey);
    curveKey("curve.secretKey", curve.secretKey);
    return new CurveGate(curve, exchange, options, await CurveBox.load());
  }

  private constructor(
    curve: BrokerCurve,
    exchange: Exchange,
    options: CurveGateOptions,
    box: CurveBox,
  ) {
    this.#access = curve.access;
    this.#exchange = exchange;
    this.#options = options;
    this.#table = readAccess(curve.access, (spec) => {
      return new AccessTable(spec, ({ key, name, action, what }) => {
        exchange.faults.denied++;
        const reason = `${name} may not ${action} ${what}`;
        const status = "PERMISSION_DENIED";
        this.#tell({ status, what: "denied", reason, key, name, remote: "" });
      });
    });
    this.forPorts = {
      box,
      keys: box.pairOf(curve),
      turns: new Turns(),
      find: (key) => this.#table.find(key),
      onRefused: (what, remote, key, name) => this.#onRefused(what, remote, key, name),
    };
  }

  /** One that was made with `forPorts`: whoever is there is looked at again when another access file comes. */
  watch(port: NetPort): void {
    this.#ports.push(port);
  }

  /** The same of other ports. */
  watchDoor(acceptor: Acceptor): void {
    this.#acceptors.push(acceptor);
  }

  /**
   * Takes another access file, or the one that was taken last as it is now. Whoever may still be
   * here stays; the others are told and cut off. Throws where it cannot be read, and changes nothing.
   */
  reload(access: string | AccessSpec = this.#access): ReloadResult {
    readAccess(access, (spec) => this.#table.replace(spec));
    this.#access = access;
    let cutCount = 0;
    for (const port of this.#ports) {
      cutCount += port.revokeUnknown((routingId) => {
        evict(this.#exchange, port, routingId, Status.UNAUTHENTICATED, REASONS.revoked);
      });
    }
    // First: whoever it cuts off is not to be cut off, and counted, once more.
    cutCount += recheck(this.#exchange);
    for (const door of this.#acceptors) cutCount += door.recheck();
    return { keyCount: this.#table.keyCount, cutCount };
  }

  #onRefused(what: PortRefusal, remote: string, key = "", name = ""): void {
    if (!Object.hasOwn(REASONS, what)) return;
    const reason = REASONS[what as keyof typeof REASONS];
    this.#tell({ status: "UNAUTHENTICATED", what, reason, key, name, remote });
  }

  #tell(event: SecurityEvent): void {
    const { onSecurity } = this.#options;
    if (onSecurity === undefined) return;
    // Later, and alone: what a listener throws must not leave a step half done.
    queueMicrotask(() => onSecurity(event));
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
