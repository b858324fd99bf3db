import type { View } from "./top-view.js";

const ALTERNATE = "\x1b[?1049h\x1b[?25l";
const NORMAL = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const REST_OF_LINE = "\x1b[K";
const REST_OF_SCREEN = "\x1b[J";
const DIM = "\x1b[2m";
const PLAIN = "\x1b[22m";

/** In raw mode Ctrl-C is a key like others. */
const QUIT_KEYS = ["q", "Q", "\x03"];

/** The whole terminal, redrawn in place, and given back as it was. */
export class Screen {
  readonly #onExit = () => void process.stdout.write(NORMAL);
  readonly #onKey: (key: Buffer) => void;

  constructor(onQuit: () => void) {
    this.#onKey = (key) => {
      if (QUIT_KEYS.some((quit) => key.includes(quit))) onQuit();
    };
    // Also after an error that nothing caught.
    process.on("exit", this.#onExit);
    process.stdout.write(ALTERNATE);
    if (process.stdin.isTTY === true) {
      process.stdin.setRawMode(true);
      process.stdin.on("data", this.#onKey).resume();
    }
  }

  draw(linesFor: (view: View) => readonly string[], notice: string): void {
    const { columns = 80, rows = 24 } = process.stdout;
    const lines = linesFor({ columns, rows: rows - 1 }).slice(0, rows - 1);
    const text = lines.map((line) => `${line}${REST_OF_LINE}\n`).join("");
    const last = `\x1b[${rows};1H${DIM}${notice.slice(0, columns - 1)}${PLAIN}${REST_OF_LINE}`;
    process.stdout.write(`${HOME}${text}${REST_OF_SCREEN}${last}`);
  }

  close(): void {
    process.off("exit", this.#onExit);
    process.stdout.write(NORMAL);
    if (process.stdin.isTTY !== true) return;
    process.stdin.off("data", this.#onKey).pause();
    process.stdin.setRawMode(false);
  }
}
