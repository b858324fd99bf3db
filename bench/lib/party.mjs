// The process of a party: does what its parent asks, one message for each, and leaves in good order when the
// parent lets go of it or dies.

const LEAVE_MS = 2_000;

/**
 * @param {(what: string, options: any) => Promise<unknown>} answer
 * @param {() => Promise<unknown>} stop
 */
export function serveParent(answer, stop) {
  process.on("message", async (/** @type {any} */ { id, what, options }) => {
    try {
      process.send?.({ id, value: await answer(what, options) });
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
  // Ctrl-C reaches the whole group. The parent decides, and its end is noticed here.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => {});
  process.on("disconnect", async () => {
    setTimeout(() => process.exit(1), LEAVE_MS).unref();
    await stop();
    process.exit(0);
  });
}
