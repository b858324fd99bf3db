import { createRequire } from "node:module";

/** What is used of an entry of world-countries. */
export interface CountryEntry {
  cca3: string;
  name: { common: string; official: string; native: Record<string, Names> };
  altSpellings: string[];
  translations: Record<string, Names>;
  capital: string[];
  region: string;
  currencies: Record<string, { name: string; symbol: string }> | [];
  languages: Record<string, string>;
  latlng: [number, number];
  area: number;
  borders: string[];
}

interface Names {
  common: string;
  official: string;
}

/** What the service says about a country. */
export interface Dossier {
  code: string;
  name: string;
  capital: string[];
  region: string;
  languages: string[];
  currencies: string[];
  areaKm2: number;
  neighbours: { code: string; name: string; km: number }[];
  native: Record<string, Names>;
  translations: Record<string, Names>;
}

/** The answer of countries.find: all countries of the name that matched best. */
export interface Finding {
  match: "exact" | "close";
  countries: Dossier[];
}

/** The answer of countries.route: the fewest borders between two countries, over land. */
export interface Route {
  from: string;
  to: string;
  /** Between the two middles, as the crow flies. */
  km: number;
  /** Codes of the countries on the way, both ends included; empty where there is no way. */
  overLand: string[];
}

const EARTH_RADIUS_KM = 6371;
const CLOSE_COUNT_MAX = 5;

/** The entries of world-countries. Throws an Error of one line where it is not installed. */
export function loadCountries(): CountryEntry[] {
  try {
    return createRequire(import.meta.url)("world-countries") as CountryEntry[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
    throw new Error(
      "the package world-countries, whose data it asks about, is not installed: run npm ci",
    );
  }
}

/**
 * A name as it is compared: lower case, compatibility forms resolved, and without the accents of
 * Latin, Greek and Cyrillic. Marks of other scripts stay: in Thai or Devanagari they are vowels.
 */
export function foldName(name: string): string {
  return name
    .toLowerCase()
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[\s\p{P}]+/gu, " ")
    .trim();
}

/** Every name that an entry has, in any language. */
export function namesOf({ name, translations, altSpellings }: CountryEntry): string[] {
  const names = [name, ...Object.values(name.native), ...Object.values(translations)];
  return [...new Set([...names.flatMap((n) => [n.common, n.official]), ...altSpellings])];
}

/** The countries of the world, found by their names in any of some forty languages. */
export class Countries {
  readonly #byCode: ReadonlyMap<string, CountryEntry>;
  readonly #codesByName = new Map<string, string[]>();
  readonly #dossiers = new Map<string, Dossier>();

  constructor(readonly entries: readonly CountryEntry[]) {
    this.#byCode = new Map(entries.map((entry) => [entry.cca3, entry]));
    for (const entry of entries) {
      for (const name of new Set(namesOf(entry).map(foldName))) {
        const codes = this.#codesByName.get(name);
        if (codes === undefined) this.#codesByName.set(name, [entry.cca3]);
        else codes.push(entry.cca3);
      }
    }
  }

  /** The countries called `name`, or those of the closest name; undefined where none is close. */
  find(name: string): Finding | undefined {
    const found = this.#codesOf(name);
    if (found === undefined) return undefined;
    return { match: found.match, countries: found.codes.map((code) => this.#dossier(code)) };
  }

  /** The way between two countries; undefined where either name is not known. */
  route(from: string, to: string): Route | undefined {
    const start = this.#codesOf(from)?.codes[0];
    const end = this.#codesOf(to)?.codes[0];
    if (start === undefined || end === undefined) return undefined;
    return {
      from: this.#entry(start).name.common,
      to: this.#entry(end).name.common,
      km: distanceKm(this.#entry(start), this.#entry(end)),
      overLand: this.#overLand(start, end),
    };
  }

  #entry(code: string): CountryEntry {
    return this.#byCode.get(code) as CountryEntry;
  }

  #codesOf(name: string): { match: Finding["match"]; codes: string[] } | undefined {
    const folded = foldName(name);
    const exact = this.#codesByName.get(folded);
    if (exact !== undefined) return { match: "exact", codes: exact };
    // A third of the letters may be wrong; beyond that it is another name.
    let least = Math.floor(folded.length / 3);
    let codes = new Set<string>();
    for (const [candidate, candidateCodes] of this.#codesByName) {
      const distance = editDistance(folded, candidate, least);
      if (distance > least || distance === 0) continue;
      if (distance < least) codes = new Set();
      least = distance;
      for (const code of candidateCodes) codes.add(code);
    }
    if (codes.size === 0) return undefined;
    return { match: "close", codes: [...codes].slice(0, CLOSE_COUNT_MAX) };
  }

  #dossier(code: string): Dossier {
    const known = this.#dossiers.get(code);
    if (known !== undefined) return known;
    const entry = this.#entry(code);
    const dossier: Dossier = {
      code,
      name: entry.name.common,
      capital: entry.capital,
      region: entry.region,
      languages: Object.values(entry.languages),
      currencies: Object.values(entry.currencies).map(({ name }) => name),
      areaKm2: entry.area,
      neighbours: entry.borders.map((border) => {
        const neighbour = this.#entry(border);
        return {
          code: border,
          name: neighbour.name.common,
          km: distanceKm(entry, neighbour),
        };
      }),
      native: entry.name.native,
      translations: entry.translations,
    };
    this.#dossiers.set(code, dossier);
    return dossier;
  }

  /** Breadth first: the first way found crosses the fewest borders. */
  #overLand(start: string, end: string): string[] {
    const cameFrom = new Map([[start, ""]]);
    const line = [start];
    for (const code of line) {
      if (code === end) break;
      for (const border of this.#entry(code).borders) {
        if (cameFrom.has(border)) continue;
        cameFrom.set(border, code);
        line.push(border);
      }
    }
    const way: string[] = [];
    for (let code = cameFrom.has(end) ? end : ""; code !== ""; code = cameFrom.get(code) ?? "") {
      way.unshift(code);
    }
    return way;
  }
}

/** The haversine formula, in whole kilometres. */
function distanceKm(a: CountryEntry, b: CountryEntry): number {
  const radians = (degrees: number) => (degrees * Math.PI) / 180;
  const haversine = (angle: number) => Math.sin(angle / 2) ** 2;
  const [latitudeA, longitudeA] = a.latlng.map(radians);
  const [latitudeB, longitudeB] = b.latlng.map(radians);
  const h =
    haversine(latitudeB - latitudeA) +
    Math.cos(latitudeA) * Math.cos(latitudeB) * haversine(longitudeB - longitudeA);
  return Math.round(2 * EARTH_RADIUS_KM * Math.asin(Math.sqrt(h)));
}

/** Levenshtein's distance, or some number above `most` as soon as it must be above. */
function editDistance(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1;
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(replaced, row[j] + 1, next[j - 1] + 1);
      least = Math.min(least, next[j]);
    }
    if (least > most) return most + 1;
    row = next;
  }
  return row[b.length];
}
