import type { Readable } from "node:stream";

export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  const iterable = value as Partial<AsyncIterable<unknown>> | null | undefined;
  return typeof iterable?.[Symbol.asyncIterator] === "function";
}

/** Lets go of what is read no further, `iterator` if that was begun; resolves when it has cleaned up. */
export async function letGo(
  iterable: AsyncIterable<unknown>,
  iterator?: AsyncIterator<unknown>,
): Promise<void> {
  if (!isNodeStream(iterable)) {
    await (iterator ?? iterable[Symbol.asyncIterator]()).return?.();
    return;
  }
  // Its iterator closes nothing before it was read from, and nothing while it waits for more. An error
  // that nobody listens to would end the process: a file, say, that was not there to be opened.
  iterable.on("error", () => {});
  iterable.destroy();
}

/** Of Node's or of the package readable-stream. */
function isNodeStream(iterable: object): iterable is Readable {
  const { destroy, on } = iterable as Partial<Readable>;
  return typeof destroy === "function" && typeof on === "function";
}
