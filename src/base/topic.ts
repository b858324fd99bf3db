// Topics are dotted: `orders.eu.created`. A pattern is a topic in which a whole token may be `*`, which
// stands for any one token, and the last may be `>`, which stands for one or more.

export const ANY_TOKEN = "*";
export const ANY_REST = ">";

/** More tokens than anyone names by hand; what matching may cost grows with them. */
export const TOKENS_MAX = 32;
const BYTES_MAX = 255;

/** Whether `text` may be published to: 1..255 bytes of UTF-8, up to 32 tokens, none empty, no wildcard. */
export function isTopic(text: string): boolean {
  return isPattern(text) && !text.includes(ANY_TOKEN) && !text.includes(ANY_REST);
}

/** Whether `text` may be subscribed to. Wildcards stand alone between dots, `>` at the end. */
export function isPattern(text: string): boolean {
  // Without its bytes counted where its length says enough: of a topic this is asked in each cache miss.
  if (text.length === 0 || text.length > BYTES_MAX) return false;
  if (!isBytesMax(text) || hasControls(text)) return false;
  const tokens = text.split(".");
  if (tokens.length > TOKENS_MAX) return false;
  return tokens.every((token, index) => {
    if (token === "") return false;
    if (token === ANY_TOKEN) return true;
    if (token === ANY_REST) return index === tokens.length - 1;
    return !token.includes(ANY_TOKEN) && !token.includes(ANY_REST);
  });
}

/** What every topic that `pattern` matches begins with: all before its first wildcard. */
export function prefixOf(pattern: string): string {
  const at = pattern.search(/[*>]/);
  return at === -1 ? pattern : pattern.slice(0, at);
}

function isBytesMax(text: string): boolean {
  let size = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // Each half of a surrogate pair is 2 of the 4 bytes.
    size += code < 0x80 ? 1 : code < 0x800 || (code >= 0xd800 && code < 0xe000) ? 2 : 3;
  }
  return size <= BYTES_MAX;
}

function hasControls(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
  return /[\u0000-\u001f\u007f]/.test(text);
}
