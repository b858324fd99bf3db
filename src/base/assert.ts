/** Stops at a bug of ours. Bad input from a peer is never a reason to assert. */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`bug: ${what}`);
}
