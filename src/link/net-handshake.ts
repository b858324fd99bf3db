import { decodeZ85 } from "../base/z85.js";
import { CurveBox } from "../zmtp/curve-box.js";
import { CurveClient } from "../zmtp/curve-handshake.js";
import type { CurveSession } from "../zmtp/curve-session.js";
import { encodeProperties, encodeReady } from "../zmtp/encode.js";
import {
  checkGreeting,
  commandName,
  encodeGreeting,
  greetingSize,
  type Handshake,
  knowsPing,
  readCommandFrame,
  readErrorReason,
  readHandshake,
  readProperties,
} from "../zmtp/greeting.js";
import type { CurveKeys } from "./curve.js";

const SOCKET_TYPE = "DEALER";

/** What the bytes of a broker's handshake come to so far. */
export type Met =
  | { state: "partial"; answer?: Buffer }
  | { state: "open"; knowsPing: boolean; session: CurveSession | undefined; rest: Buffer }
  /** There is no broker for us, and why in words; UNAUTHENTICATED in front where it said so. */
  | { state: "lost"; reason: string };

/** Our half of a handshake with a broker. */
export interface NetHandshake {
  /** What is said first, before anything has come. */
  readonly first: Buffer;
  /** Why the broker, in words, closed the connection while this one stands. */
  readonly closedReason: string;
  /** Takes what comes next. */
  take(bytes: Buffer): Met;
  /** It is over, whatever it came to. */
  end(): void;
}

const PARTIAL: Met = { state: "partial" };

function lost(reason: string): Met {
  return { state: "lost", reason };
}

/** Why a broker whose handshake was read so far is none for us; undefined where it is. */
function misfit(handshake: Exclude<Handshake, { state: "partial" }>): string | undefined {
  if (handshake.state === "faulty") return `no broker is there: ${handshake.detail}`;
  if (handshake.version === 3 && handshake.socketType === "ROUTER") return undefined;
  return `no broker is there, but a ${handshake.socketType} socket`;
}

/** With the NULL mechanism. */
export class NullHandshake implements NetHandshake {
  readonly first = Buffer.concat([encodeGreeting("NULL"), encodeReady(SOCKET_TYPE)]);
  readonly closedReason = "the broker closed the connection in the handshake";
  #read: Buffer = Buffer.alloc(0);

  take(bytes: Buffer): Met {
    this.#read = Buffer.concat([this.#read, bytes]);
    const handshake = readHandshake(this.#read, "NULL");
    if (handshake.state === "partial") return PARTIAL;
    if (handshake.state === "faulty" && handshake.fault === "mechanism") {
      return lost("UNAUTHENTICATED: the broker wants CURVE, and no keys are given");
    }
    const why = misfit(handshake);
    if (why !== undefined) return lost(why);
    // READY again, which is passed over, and what came behind it.
    const rest = this.#read.subarray(greetingSize);
    return { state: "open", knowsPing: knowsPing(this.#read), session: undefined, rest };
  }

  end(): void {}
}

/** With CURVE: HELLO, WELCOME, INITIATE, READY. */
export class CurveHandshake implements NetHandshake {
  readonly first: Buffer;
  readonly #curve: CurveKeys;
  readonly #client: CurveClient;
  #read: Buffer = Buffer.alloc(0);
  /** Of what is read: where the next command stands. */
  #at = greetingSize;
  #isWelcome = false;

  /** Rejects with TypeError for keys that do not belong together, or where the server's is that of nobody. */
  static async begin(curve: CurveKeys): Promise<CurveHandshake> {
    return new CurveHandshake(curve, await CurveBox.load());
  }

  private constructor(curve: CurveKeys, box: CurveBox) {
    this.#curve = curve;
    this.#client = new CurveClient(box, box.pairOf(curve), decodeZ85(curve.serverKey));
    this.first = Buffer.concat([encodeGreeting("CURVE"), this.#client.hello()]);
  }

  get closedReason(): string {
    const where = "the broker closed the connection in the CURVE handshake";
    return this.#isWelcome ? where : `${where}: is serverKey its public key?`;
  }

  take(bytes: Buffer): Met {
    this.#read = Buffer.concat([this.#read, bytes]);
    const greeting = checkGreeting(this.#read, "CURVE");
    if (greeting.state === "partial") return PARTIAL;
    if (greeting.state === "faulty") {
      const isOpen = greeting.fault === "mechanism";
      return lost(
        isOpen
          ? "the broker does not use CURVE, and keys are given"
          : `no broker is there: ${greeting.detail}`,
      );
    }
    const command = readCommandFrame(this.#read, this.#at);
    if (command.state === "partial") return PARTIAL;
    if (command.state === "faulty") return lost(`no broker is there: ${command.detail}`);
    this.#at = command.end;
    if (commandName(command.body) === "ERROR") return lost(this.#refusal(command.body));
    return this.#isWelcome ? this.#onReady(command.body) : this.#onWelcome(command.body);
  }

  end(): void {
    this.#client.end();
  }

  #onWelcome(body: Buffer): Met {
    const answer = this.#client.initiate(body, encodeProperties(SOCKET_TYPE));
    if (answer === undefined) return lost("the broker has not the key that serverKey belongs to");
    this.#isWelcome = true;
    return { state: "partial", answer };
  }

  #onReady(body: Buffer): Met {
    const ready = this.#client.ready(body);
    if (ready === undefined) return lost("the broker's READY is not of the one that was met");
    const handshake = readProperties(ready.properties);
    const why = handshake.state === "partial" ? undefined : misfit(handshake);
    if (why !== undefined) return lost(why);
    const rest = this.#read.subarray(this.#at);
    return { state: "open", knowsPing: knowsPing(this.#read), session: ready.session, rest };
  }

  /** RFC 27 (ZAP): 400 is the status of a key that may not come in. Not proven to be the broker's word. */
  #refusal(body: Buffer): string {
    const reason = readErrorReason(body);
    if (reason !== "400") return `the broker refuses this connection: ${reason}`;
    return `UNAUTHENTICATED: the broker does not let in ${this.#curve.publicKey}`;
  }
}
