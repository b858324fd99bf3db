// What others wrote, as text that cannot tell the terminal what to do.

/** A line of it: whatever is not shown, escape sequences and turns of direction among it, is a `?`. */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
}

/** JSON, the same value: JSON escapes what is below a space itself, a terminal obeys these too. */
export function printableJson(json: string): string {
  return json.replace(
    /[\u007f-\u009f]/g,
    (character) => `\\u00${character.charCodeAt(0).toString(16)}`,
  );
}
