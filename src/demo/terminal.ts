/** What is used of process.stdout. */
export interface Output {
  isTTY?: boolean;
  columns?: number;
  hasColors?(): boolean;
  write(text: string): unknown;
}

const BAR_INTERVAL_MS = 100;
const BAR_WIDTH_MAX = 40;
const BAR_WIDTH_MIN = 8;

/** Where the story is told: lines with their time, and a bar below them on a terminal. */
export class Terminal {
  readonly #output: Output;
  readonly #hasBar: boolean;
  readonly #hasColors: boolean;
  #progress: (() => Progress) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(output: Output, environment: NodeJS.ProcessEnv = process.env) {
    this.#output = output;
    this.#hasBar = output.isTTY === true && environment.TERM !== "dumb";
    this.#hasColors = this.#hasBar && !environment.NO_COLOR && output.hasColors?.() === true;
  }

  /** A line of the story, with the seconds since the start. */
  tell(text: string, atMs = performance.now()): void {
    const time = `${(atMs / 1000).toFixed(2).padStart(5)} s`;
    this.print(`${this.#hasColors ? `\x1b[2m${time}\x1b[22m` : time}  ${text}`);
  }

  /** A line as it is. */
  print(line: string): void {
    this.#clear();
    this.#output.write(`${line}\n`);
    this.#draw();
  }

  /** Shows how far it is, until `hideBar`. */
  showBar(progress: () => Progress): void {
    if (!this.#hasBar) return;
    this.#progress = progress;
    this.#timer = setInterval(() => this.#draw(), BAR_INTERVAL_MS);
    this.#draw();
  }

  hideBar(): void {
    clearInterval(this.#timer);
    this.#clear();
    this.#progress = undefined;
  }

  #draw(): void {
    if (this.#progress === undefined) return;
    this.#output.write(`\r${formatBar(this.#progress(), this.#output.columns ?? 80)}\x1b[K`);
  }

  #clear(): void {
    // The bar, or the ^C that the terminal wrote.
    if (this.#hasBar) this.#output.write("\r\x1b[K");
  }
}

export interface Progress {
  done: number;
  total: number;
  note: string;
}

/** The bar in at most `columns` - 1 characters; a full line would scroll the terminal. */
export function formatBar({ done, total, note }: Progress, columns: number): string {
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const percent = `${Math.floor(share * 100)}%`.padStart(4);
  const width = Math.min(BAR_WIDTH_MAX, columns - 1 - percent.length - note.length - 4);
  if (width < BAR_WIDTH_MIN) return `${percent} ${note}`.slice(0, Math.max(0, columns - 1));
  const filled = Math.round(share * width);
  return `[${"#".repeat(filled)}${".".repeat(width - filled)}]${percent}  ${note}`;
}
