/** `value` if it is a CURVE key, 32 bytes in Z85 (RFC 32); throws TypeError, without it, otherwise. */
export function curveKey(name: string, value: string): string {
  if (isCurveKey(value)) return value;
  const size = typeof value === "string" ? `${value.length} characters` : typeof value;
  throw new TypeError(`${name} must be a CURVE key, 40 characters of Z85, got ${size}`);
}

/** Whether `text` is a CURVE key, 32 bytes in Z85. */
export function isCurveKey(text: unknown): boolean {
  return typeof text === "string" && /^[0-9a-zA-Z.\-:+=^!/*?&<>()[\]{}@%$#]{40}$/.test(text);
}

/** What an options object may name: each of `Options`, which the compiler sees to. */
export type OptionNames<Options> = Readonly<Record<keyof Options, true>>;

/**
 * Throws TypeError where `options` names what is not `known`: misspelt, it would be passed over without a word.
 * For what is made once; what is done often is not asked.
 */
export function knownOptions<Options extends object>(
  where: string,
  options: Options,
  known: OptionNames<Options>,
): void {
  for (const name of Object.keys(options ?? {})) {
    if (Object.hasOwn(known, name)) continue;
    const lower = name.toLowerCase();
    const near = Object.keys(known).find((each) => {
      const other = each.toLowerCase();
      return other.startsWith(lower) || lower.startsWith(other);
    });
    const hint = near === undefined ? "" : `; is it ${near}?`;
    throw new TypeError(`${where}: unknown option ${JSON.stringify(name)}${hint}`);
  }
}

/**
 * The same for what is done often, in 30 ns: as long as all is well nothing is made of it.
 * Throws TypeError where `options` are none, or name what is not `known`.
 */
export function checkOptions<Options extends object>(
  where: string,
  options: Options,
  known: OptionNames<Options>,
): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`${where}: options must be an object, got ${shown(options)}`);
  }
  for (const name in options) {
    // What is inherited is no option, and is passed over there.
    if (known[name] !== true) return knownOptions(where, options, known);
  }
}

/** `value` if it is a function or left out; throws TypeError otherwise. */
export function optionalFunction<Value>(name: string, value: Value): Value {
  if (value === undefined || typeof value === "function") return value;
  throw new TypeError(`${name} must be a function, got ${shown(value)}`);
}

/** A value in an error: text in quotes, so that "4" is not taken for 4. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  const isPlain = value === null || !["object", "function", "symbol"].includes(typeof value);
  return isPlain ? String(value) : `a ${typeof value}`;
}

/** `value` if it is a whole number in the range; throws RangeError otherwise. */
export function wholeNumber(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(`${name} must be a whole number ${least}..${most}, got ${shown(value)}`);
}

/** How long what closes or drains may take, in ms: Infinity for as long as it takes. */
export interface EndOptions {
  timeoutMs?: number;
}

const endOptionNames: OptionNames<EndOptions> = { timeoutMs: true };

/** What they say, or `byDefault`. Throws TypeError for another option, RangeError for what is no such time. */
export function endTimeout(where: string, options: EndOptions, byDefault: number): number {
  checkOptions(where, options, endOptionNames);
  const { timeoutMs = byDefault } = options;
  if (typeof timeoutMs === "number" && timeoutMs >= 0) return timeoutMs;
  const got = shown(timeoutMs);
  throw new RangeError(`timeoutMs must be a number of ms from 0 on, or Infinity, got ${got}`);
}

/** `value` if it is an endpoint of a known transport; throws TypeError otherwise. */
export function endpoint(name: string, value: string): string {
  if (typeof value === "string") {
    const tcp = /^tcp:\/\/(\[[0-9a-fA-F:.%\w]+\]|[^:/\s[\]]+):(\d{1,5}|\*)$/.exec(value);
    if (tcp !== null && (tcp[2] === "*" || Number(tcp[2]) <= 65_535)) return value;
    if (/^ipc:\/\/\S+$/.test(value)) return value;
  }
  throw new TypeError(
    `${name} must be tcp://host:port or ipc://path, got ${JSON.stringify(value)}`,
  );
}

/** `values` if it is a list of one or more endpoints; throws TypeError otherwise. */
export function endpoints(name: string, values: readonly string[]): readonly string[] {
  if (!Array.isArray(values) || values.length === 0) {
    const got = JSON.stringify(values);
    throw new TypeError(`${name} must be a list of at least one endpoint, got ${got}`);
  }
  return values.map((value) => endpoint(name, value));
}
