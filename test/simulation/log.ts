/** Lines kept for the report of a failure. */
const TRACE_COUNT = 60;

export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

/** What happened in a run: the latest lines in full, all that was decided as one number. */
export class Log {
  readonly trace: string[] = [];
  /** How often each kind of effect came: a run that met nothing proves nothing. */
  readonly met = new Map<string, number>();
  digest = 0x811c9dc5;

  /** Something that was done to the system. */
  cause(line: string): void {
    this.trace.push(line);
    if (this.trace.length > TRACE_COUNT) this.trace.shift();
  }

  /** Something that came of it. */
  effect(line: string, prefix = ""): void {
    this.cause(`  ${prefix}${line}`);
    this.meet(line.replace(/ [\d#:]+/g, ""));
    // FNV-1a over all effects.
    for (let i = 0; i < line.length; i++) {
      this.digest = Math.imul(this.digest ^ line.charCodeAt(i), 0x01000193) >>> 0;
    }
  }

  meet(what: string): void {
    this.met.set(what, (this.met.get(what) ?? 0) + 1);
  }
}
