import { TABLES } from "./tables.mjs";

/** The share of `--seconds` that one measurement takes: there are many. */
export const TIME_SHARE = 1 / 34;
const QUICK_VALUES_MAX = 4;
/** For a section, which takes some seconds unless `--seconds` says otherwise. */
const SECTION_TIMEOUT_MS = 30 * 60 * 1000;

const script = new URL("party.mjs", import.meta.url);

/**
 * Measures every section in a process of its own, one after the other.
 * @param {import("../lib/options.mjs").Options} options
 * @param {{ parties: import("../lib/parties.mjs").Parties, progress(text: string): void }} run
 */
export async function runCodecSuite(options, { parties, progress }) {
  const rows = [];
  for (const { table, section } of selected(options.only)) {
    progress(`codec: ${table}/${section}`);
    const party = parties.start(`codec ${table} ${section}`, {
      script,
      profileFolder: options.profileFolder,
    });
    const measured = await party.ask(
      "measure",
      {
        table,
        section,
        valuesMax: options.isQuick ? QUICK_VALUES_MAX : Number.MAX_SAFE_INTEGER,
        rounds: options.codecRounds,
        durationMs: options.seconds * 1000 * TIME_SHARE,
      },
      SECTION_TIMEOUT_MS,
    );
    await parties.end(party);
    rows.push(...measured.map((/** @type {object} */ row) => ({ suite: "codec", ...row })));
  }
  return rows;
}

/**
 * The sections that `--only` names: of a table all, of `chain/order` one, of `messagepack/order` both.
 * @param {readonly string[] | undefined} only
 * @throws {RangeError} for a name that nothing has
 */
export function selected(only) {
  const all = Object.entries(TABLES).flatMap(([table, { sections }]) =>
    Object.keys(sections).map((section) => ({ table, section })),
  );
  if (only === undefined) return all;
  for (const name of only) {
    if (all.some((each) => isNamed(each, name))) continue;
    const tables = Object.keys(TABLES).join(", ");
    throw new RangeError(`--only must be of ${tables}, or TABLE/SECTION, got ${name}`);
  }
  return all.filter((each) => only.some((name) => isNamed(each, name)));
}

/** @param {{ table: string, section: string }} each @param {string} name */
function isNamed({ table, section }, name) {
  return `${table}/${section}/`.startsWith(`${name}/`);
}
