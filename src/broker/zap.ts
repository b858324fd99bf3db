// Who a connection belongs to, as ZeroMQ asks it: RFC 27 (ZAP), https://rfc.zeromq.org/spec/27
import { Context, Reply } from "zeromq";
import { encodeZ85 } from "../base/z85.js";

/**
 * What becomes of a connection whose key is proven. One that is to come later is told nothing: when it is cut off it
 * comes again, with all that it has to say. A ZeroMQ socket that is refused does not.
 */
export type Verdict = "in" | "later" | "refused";

type Decide = (key: string) => Verdict;

/** RFC 27: the status codes, and what they are in words. */
const SAID = {
  in: ["200", "OK"],
  later: ["300", "not now"],
  refused: ["400", "the key is not known"],
} as const;

const ZAP_ENDPOINT = "inproc://zeromq.zap.01";
const VERSION = "1.0";
const NOTHING = Buffer.alloc(0);
const SOCKETS_MAX = 65_535;

/**
 * The one in this process that ZeroMQ asks about keys. Each connection has a domain of its own, so
 * that the answer is about that one. The context is apart from the global one, which an application
 * may have its own handler in, and which holds 1023 sockets.
 */
export class Zap {
  static #shared: Zap | undefined;
  readonly context: Context;
  readonly #socket: Reply;
  readonly #decisions = new Map<string, Decide>();
  #userCount = 0;
  #lastDomain = 0;

  private constructor(context: Context) {
    this.context = context;
    this.#socket = new Reply({ context, linger: 0, sendTimeout: 0 });
  }

  /** The handler, which listens; `release` when no connection of the caller's is left. */
  static acquire(): Zap {
    let zap = Zap.#shared;
    if (zap === undefined) {
      // Another context each time: a close frees the handler's name in the old one some time later.
      zap = new Zap(new Context({ maxSockets: SOCKETS_MAX }));
      zap.#socket.bindSync(ZAP_ENDPOINT);
      Zap.#shared = zap;
      void zap.#answerAll();
    }
    zap.#userCount++;
    return zap;
  }

  release(): void {
    if (--this.#userCount > 0) return;
    Zap.#shared = undefined;
    this.#socket.close();
  }

  /** A domain that no other connection has, decided on by `decide`, until it is forgotten. */
  addDomain(decide: Decide): string {
    const domain = `connection-${++this.#lastDomain}`;
    this.#decisions.set(domain, decide);
    return domain;
  }

  forgetDomain(domain: string): void {
    this.#decisions.delete(domain);
  }

  async #answerAll(): Promise<void> {
    for (;;) {
      let frames: Buffer[];
      try {
        frames = await this.#socket.receive();
      } catch {
        return; // Closed.
      }
      // Fails only when whoever asked is gone.
      await this.#socket.send(this.#answer(frames)).catch(() => {});
    }
  }

  /**
   * | version | request id | domain | address | identity | mechanism | key 32 | to
   * | version | request id | status | reason | user | metadata |
   */
  #answer([, requestId, domain, , , mechanism, key]: Buffer[]): (Buffer | string)[] {
    const decide = this.#decisions.get(String(domain));
    const isKey = String(mechanism) === "CURVE" && key?.length === 32;
    const verdict = isKey ? decide?.(encodeZ85(key)) : undefined;
    return [VERSION, requestId, ...SAID[verdict ?? "refused"], NOTHING, NOTHING];
  }
}
