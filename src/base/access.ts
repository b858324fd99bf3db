// Who may do what, by the public key that a connection was made with. Patterns are those of the rest
// of the system: of services and queues `name`, `prefix.*` and `*`; of topics `*` for one part
// between dots and a `>` at the end for one or more.

import { isCurveKey } from "./check.js";

/** What can be granted. */
export const ACTIONS = [
  "call",
  "serve",
  "publish",
  "subscribe",
  "push",
  "pull",
  "administer",
] as const;

export type Action = (typeof ACTIONS)[number];

/** One key's line of an access file: patterns by action, and a name to call it by in logs. */
export type Grant = { readonly name?: string } & Partial<Record<Action, readonly string[]>>;

/** What an access file holds. Keys are public ones, 40 characters of Z85. */
export interface AccessSpec {
  readonly keys: Readonly<Record<string, Grant>>;
}

/** Something that a key was not allowed to do. */
export interface Denial {
  key: string;
  name: string;
  action: Action;
  /** The service, topic or queue. */
  what: string;
}

/** Answers kept for each action of a key; then they are found out anew. */
const REMEMBERED_MAX = 1024;
const NAME_SIZE_MAX = 64;
const PATTERNS_MAX = 1024;
const PATTERN_SIZE_MAX = 255;

/** What one key may do. Stays the same object while its key is known, whatever it is granted. */
export class Access {
  #grant: Grant = {};
  readonly #onDenial: (denial: Denial) => void;
  readonly #remembered: Readonly<Record<Action, Map<string, boolean>>>;

  constructor(
    /** The public key, Z85. */
    readonly key: string,
    grant: Grant,
    onDenial: (denial: Denial) => void,
  ) {
    this.#onDenial = onDenial;
    this.#remembered = Object.fromEntries(
      ACTIONS.map((action) => [action, new Map()]),
    ) as unknown as Record<Action, Map<string, boolean>>;
    this.grant(grant);
  }

  /** What the access file calls it; the start of the key where it does not. */
  get name(): string {
    return this.#grant.name ?? `${this.key.slice(0, 8)}..`;
  }

  /** From now on it may do this, and nothing else. */
  grant(grant: Grant): void {
    this.#grant = grant;
    for (const action of ACTIONS) this.#remembered[action].clear();
  }

  /**
   * Whether `what` may be done: a service to call or serve, a queue to push to or pull from, a topic to
   * publish to, a topic or a pattern of topics to subscribe to.
   */
  may(action: Action, what: string): boolean {
    const remembered = this.#remembered[action];
    const known = remembered.get(what);
    if (known !== undefined) return known;
    const patterns = this.#grant[action] ?? [];
    const covers = action === "publish" || action === "subscribe" ? coversTopic : coversName;
    const answer = patterns.some((pattern) => covers(pattern, what));
    if (remembered.size >= REMEMBERED_MAX) remembered.clear();
    remembered.set(what, answer);
    return answer;
  }

  /** Whether every topic that begins with `prefix` may be heard: what a plain SUB asks for. */
  mayHearPrefix(prefix: string): boolean {
    return (this.#grant.subscribe ?? []).some((pattern) => coversPrefix(pattern, prefix));
  }

  /** Why `what` may not be done, in words for the peer, counted and told to the log; else undefined. */
  denial(action: Action, what: string): string | undefined {
    return this.may(action, what) ? undefined : this.deny(action, what);
  }

  /** Counts and tells that `what` was refused, and says why in words for the peer. */
  deny(action: Action, what: string): string {
    const { key, name } = this;
    this.#onDenial({ key, name, action, what });
    return `${name} may not ${action} ${what}`;
  }
}

/** The keys that may connect, and what each may do. */
export class AccessTable {
  #known = new Map<string, Access>();
  readonly #onDenial: (denial: Denial) => void;

  /** Throws TypeError that names what is wrong, where `spec` is none. */
  constructor(spec: unknown, onDenial: (denial: Denial) => void) {
    this.#onDenial = onDenial;
    this.replace(spec);
  }

  get keyCount(): number {
    return this.#known.size;
  }

  find(key: string): Access | undefined {
    return this.#known.get(key);
  }

  /**
   * Takes `spec` in place of what held before. Those whose key stays keep their Access. Throws
   * TypeError where it is none, and changes nothing.
   */
  replace(spec: unknown): void {
    const before = this.#known;
    const after = new Map<string, Access>();
    const { keys } = readAccessSpec(spec);
    for (const [key, grant] of Object.entries(keys)) {
      const access = before.get(key) ?? new Access(key, grant, this.#onDenial);
      access.grant(grant);
      after.set(key, access);
    }
    this.#known = after;
    // Whoever still holds one of a key that is gone may do nothing any more.
    for (const [key, access] of before) if (!after.has(key)) access.grant({});
  }
}

/** `value` if it is what an access file holds; throws TypeError that names the place otherwise. */
export function readAccessSpec(value: unknown): AccessSpec {
  const { keys } = record("the access file", value, ["keys"]);
  const known = record("keys", keys);
  for (const [key, grant] of Object.entries(known)) {
    const where = `keys[${JSON.stringify(key)}]`;
    if (!isCurveKey(key)) throw new TypeError(`${where}: a key is 40 characters of Z85 alone`);
    const { name, ...actions } = record(where, grant, ["name", ...ACTIONS]);
    if (name !== undefined && !isShortText(name, NAME_SIZE_MAX)) {
      throw new TypeError(`${where}.name must be 1 to ${NAME_SIZE_MAX} printable characters`);
    }
    for (const [action, patterns] of Object.entries(actions)) {
      checkPatterns(`${where}.${action}`, patterns, action as Action);
    }
  }
  return { keys: known as AccessSpec["keys"] };
}

function checkPatterns(where: string, patterns: unknown, action: Action): void {
  if (!Array.isArray(patterns) || patterns.length > PATTERNS_MAX) {
    throw new TypeError(`${where} must be a list of at most ${PATTERNS_MAX} patterns`);
  }
  const isOfTopics = action === "publish" || action === "subscribe";
  const shape = isOfTopics
    ? "parts between dots, * for any one, > at the end for one or more"
    : "a name, or its beginning and a *";
  for (const pattern of patterns) {
    const isRight =
      isShortText(pattern, PATTERN_SIZE_MAX) &&
      (isOfTopics ? isTopicPattern(pattern) : /^[^*]*\*?$/.test(pattern));
    if (!isRight) throw new TypeError(`${where}: ${JSON.stringify(pattern)} is not ${shape}`);
  }
}

function isTopicPattern(text: string): boolean {
  const parts = text.split(".");
  return parts.every((part, index) => {
    if (part === "*" || (part === ">" && index === parts.length - 1)) return true;
    return !/[*>]/.test(part);
  });
}

/** `orders.price`, `orders.*` or `*`. */
function coversName(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** Whether whatever `topic`, itself perhaps a pattern, stands for is within `pattern`. */
function coversTopic(pattern: string, topic: string): boolean {
  const granted = pattern.split(".");
  const asked = topic.split(".");
  for (let i = 0; i < granted.length; i++) {
    if (i >= asked.length) return false;
    if (granted[i] === ">") return true;
    if (asked[i] === ">") return false;
    if (granted[i] !== "*" && granted[i] !== asked[i]) return false;
  }
  return asked.length === granted.length;
}

/** Whether all topics that begin with `prefix` are within `pattern`: only one with a `>` has them. */
function coversPrefix(pattern: string, prefix: string): boolean {
  const granted = pattern.split(".");
  if (granted.pop() !== ">") return false;
  const whole = prefix.split(".");
  whole.pop(); // What stands behind the last dot may go on.
  if (whole.length < granted.length) return false;
  return granted.every((part, index) => part === "*" || part === whole[index]);
}

function isShortText(value: unknown, sizeMax: number): value is string {
  return typeof value === "string" && value.length <= sizeMax && /^\P{Cc}+$/u.test(value);
}

/** `value` if it is an object, with no other fields than `fields` where these are given. */
function record(
  where: string,
  value: unknown,
  fields?: readonly string[],
): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`${where} must be an object`);
  }
  for (const field of fields === undefined ? [] : Object.keys(value)) {
    if (fields?.includes(field)) continue;
    throw new TypeError(
      `${where}: unknown field ${JSON.stringify(field)}; there are ${fields?.join(", ")}`,
    );
  }
  return value as Record<string, unknown>;
}
