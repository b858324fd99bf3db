// What the demo's child processes have in common: they obey their parent, and do not outlive it.

/** Sends to the parent; nothing where there is none any more. */
export function tell<Message>(message: Message): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

/**
 * Hears the parent. Ctrl-C reaches every process of the terminal, but it is the parent that says
 * in which order to leave. `leave` is called once: when the parent says so, or when it is gone
 * (`isOrphan`). The process ends when it has.
 */
export function obeyParent<Message extends { kind: string }>(
  onMessage: (message: Message) => Promise<void> | void,
  leave: (isOrphan: boolean) => Promise<unknown>,
): () => void {
  if (process.send === undefined) {
    console.error("this is a part of the demo: run npm start");
    process.exit(2);
  }
  let isLeaving = false;
  const leaveOnce = (isOrphan: boolean) => {
    if (isLeaving) return;
    isLeaving = true;
    if (isOrphan) setTimeout(() => process.exit(1), 1000).unref();
    leave(isOrphan).then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.on("SIGINT", () => {});
  process.on("SIGHUP", () => {});
  process.once("disconnect", () => leaveOnce(true));
  process.on("message", (message: Message) => {
    if (message.kind === "leave") return leaveOnce(false);
    Promise.resolve(onMessage(message)).catch((error: NodeJS.ErrnoException) => {
      tell({ kind: "failed", reason: error.message, code: error.code });
      leaveOnce(false);
    });
  });
  return () => leaveOnce(false);
}
