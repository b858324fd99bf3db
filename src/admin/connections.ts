import type { Socket } from "node:net";

/**
 * Who is connected to the admin port: guests, who asked for something that they may have, and strangers,
 * who did not yet. Strangers give way, the oldest first: refusing the newest would let idle
 * connections lock out whoever has the token.
 */
export class Connections {
  readonly #max: number;
  /** Strangers of one address push out each other, and nobody else, from here on. */
  readonly #addressMax: number;
  readonly #guests = new Set<Socket>();
  /** To the address they come from. Oldest first. */
  readonly #strangers = new Map<Socket, string>();

  constructor(max: number) {
    this.#max = max;
    this.#addressMax = Math.ceil(max / 2);
  }

  /** A new one. It gives way to others, or to guests, only when what came with it has been read. */
  add(socket: Socket): void {
    // A second time: between the two the event loop reads.
    setImmediate(() => setImmediate(() => this.#settle(socket)));
  }

  /** It asks for something that it may have. False where there are too many such already. */
  welcome(socket: Socket): boolean {
    if (this.#guests.has(socket)) return true;
    if (this.#guests.size === this.#max) return false;
    this.#strangers.delete(socket);
    this.#guests.add(socket);
    socket.once("close", () => this.#guests.delete(socket));
    this.#makeRoom();
    return true;
  }

  #settle(socket: Socket): void {
    if (socket.destroyed || this.#guests.has(socket)) return;
    const address = socket.remoteAddress ?? "";
    this.#strangers.set(socket, address);
    socket.once("close", () => this.#strangers.delete(socket));
    const same = [...this.#strangers].filter(([, other]) => other === address);
    if (same.length > this.#addressMax) this.#drop(same[0][0]);
    this.#makeRoom();
  }

  #makeRoom(): void {
    if (this.#guests.size + this.#strangers.size <= this.#max) return;
    const [oldest] = this.#strangers.keys();
    this.#drop(oldest);
  }

  #drop(socket: Socket): void {
    this.#strangers.delete(socket);
    socket.destroy();
  }
}
