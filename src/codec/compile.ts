/** False where the platform forbids code from strings; found out once, by the first attempt. */
let isAllowed = true;

/**
 * A function made from source, its free names given by `scope`; undefined where the platform
 * forbids that (a content security policy, `--disallow-code-generation-from-strings`). Whatever
 * stands in the source must be a number or have gone through {@link literalOf}.
 */
export function compile<F>(scope: Record<string, unknown>, source: string): F | undefined {
  if (!isAllowed) return undefined;
  try {
    const names = Object.keys(scope);
    return new Function(...names, `"use strict"; return ${source}`)(...Object.values(scope)) as F;
  } catch (error) {
    if (!(error instanceof EvalError)) throw error;
    isAllowed = false;
    return undefined;
  }
}

/** A string as a literal of JavaScript's, whatever characters it has. */
export function literalOf(text: string): string {
  return JSON.stringify(text);
}
