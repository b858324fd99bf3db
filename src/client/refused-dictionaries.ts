/** How long a service is spared the dictionary that a worker of it lacked. */
const REFUSED_MS = 60_000;
const SERVICES_MAX = 1024;

/** The services of which a worker lately lacked the dictionary that requests are sealed with. */
export class RefusedDictionaries {
  /** By service, when to try again; oldest first. */
  readonly #untilMs = new Map<string, number>();

  note(service: string, nowMs: number): void {
    // Anew, so that the first of the map stays the oldest.
    this.#untilMs.delete(service);
    this.#untilMs.set(service, nowMs + REFUSED_MS);
    if (this.#untilMs.size <= SERVICES_MAX) return;
    const [oldest] = this.#untilMs.keys();
    this.#untilMs.delete(oldest);
  }

  has(service: string, nowMs: number): boolean {
    const untilMs = this.#untilMs.get(service);
    if (untilMs === undefined) return false;
    if (nowMs < untilMs) return true;
    this.#untilMs.delete(service);
    return false;
  }
}
