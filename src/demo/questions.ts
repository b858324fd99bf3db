import { type Countries, type CountryEntry, foldName, namesOf } from "./countries.js";

/** What the client asks, and what it takes for the right answer. */
export interface Question {
  service: "countries.find" | "countries.route";
  body: Record<string, string>;
  expected: unknown;
}

/** Asked first, and told in the story: names of one country in several scripts. */
const SHOWN_NAMES = ["Ελλάδα", "مصر", "ประเทศไทย", "日本"];
const SHOWN_ROUTE = { from: "Португалия", to: "中国" };
export const SHOWN_COUNT = SHOWN_NAMES.length + 2;
/** Answering these takes milliseconds, and the client answers each itself. */
const MISSPELT_COUNT = 24;
const NOT_LATIN = /[^\p{Script=Latin}\p{Script=Common}\p{Script=Inherited}]/u;

/** The questions in the order in which they are asked; request n is number n of them, round about. */
export function makeQuestions(countries: Countries): Question[] {
  const find = (name: string): Question => ({
    service: "countries.find",
    body: { name },
    expected: countries.find(name),
  });
  const route = (from: string, to: string): Question => ({
    service: "countries.route",
    body: { from, to },
    expected: countries.route(from, to),
  });
  const { entries } = countries;
  const misspelt = misspeltNames(countries).map(find);
  const asked = entries.flatMap((entry, i) => {
    const other = entries[(i * 101 + 7) % entries.length];
    return [
      ...namesIn(entry, i).map(find),
      route(namesIn(entry, i)[0], namesIn(other, i + 1)[0]),
      ...misspelt.slice(i, i + 1),
    ];
  });
  return [
    ...SHOWN_NAMES.map(find),
    find("Switserlandd"),
    route(SHOWN_ROUTE.from, SHOWN_ROUTE.to),
    ...asked,
  ];
}

/** A few of a country's names that are not in Latin script, others for each `turn`. */
function namesIn(entry: CountryEntry, turn: number): string[] {
  const names = namesOf(entry).filter((name) => NOT_LATIN.test(name));
  const count = Math.min(6, names.length);
  return Array.from({ length: count }, (_, i) => names[(turn + i * 3) % names.length]);
}

/** Names with a letter left out, as a person in a hurry types them. */
function misspeltNames(countries: Countries): string[] {
  const known = new Set(countries.entries.flatMap(namesOf).map(foldName));
  return countries.entries
    .flatMap((entry) => entry.translations.rus?.common ?? [])
    .map((name) => name.slice(0, 3) + name.slice(4))
    .filter((name) => name.length >= 6 && !known.has(foldName(name)))
    .slice(0, MISSPELT_COUNT);
}
