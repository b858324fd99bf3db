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

/** `value` if it is a whole number in the range; throws RangeError otherwise. */
export function wholeNumber(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(`${name} must be a whole number ${least}..${most}, got ${value}`);
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
