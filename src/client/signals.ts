/** What stands behind one signal: one listener of ours, however many wait for it. */
interface Listeners {
  readonly all: Set<() => void>;
  onAbort(): void;
}

/**
 * By signal. One that stands for a whole gateway has thousands of requests behind it, and Node.js warns of a leak
 * from the eleventh listener on.
 */
const bySignal = new WeakMap<AbortSignal, Listeners>();

/** Calls `onAbort` when `signal`, which is not aborted yet, is; until `forget`. */
export function listen(signal: AbortSignal, onAbort: () => void): void {
  let listeners = bySignal.get(signal);
  if (listeners === undefined) {
    const all = new Set<() => void>();
    listeners = {
      all,
      onAbort: () => {
        // Those that one of them ends meanwhile are not in it any more.
        for (const each of all) {
          all.delete(each);
          each();
        }
      },
    };
    bySignal.set(signal, listeners);
  }
  if (listeners.all.size === 0) signal.addEventListener("abort", listeners.onAbort, { once: true });
  listeners.all.add(onAbort);
}

/** It need not be told any more. */
export function forget(signal: AbortSignal, onAbort: () => void): void {
  const listeners = bySignal.get(signal);
  if (listeners === undefined || !listeners.all.delete(onAbort)) return;
  if (listeners.all.size === 0) signal.removeEventListener("abort", listeners.onAbort);
}
