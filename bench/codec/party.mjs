// One process of suite codec: measures one section of one table, told by the parent. A process of
// its own each, since what the JIT compilers learnt from one would be paid for by the next.
import { measure } from "./measure.mjs";
import { loadRivals } from "./rivals.mjs";
import { TABLES } from "./tables.mjs";

/** @param {{ table: string, section: string, valuesMax: number, rounds: number, durationMs: number }} options */
async function measureSection({ table, section, valuesMax, rounds, durationMs }) {
  const { sections } = TABLES[table];
  const {
    scenario = section,
    values,
    valueBytes,
    operations,
    close,
  } = await sections[section]({
    valuesMax,
    rivals: await loadRivals(),
  });
  // Between measurements, so that the parent's end is heard.
  const tick = () => new Promise((resolve) => setImmediate(resolve));
  const rows = [];
  try {
    for (const operation of operations) {
      rows.push(...(await measure(operation, { rounds, durationMs, tick })));
    }
  } finally {
    close?.();
  }
  return rows.map((row) => ({ table, scenario, values, valueBytes, rounds, ...row }));
}

process.on("message", async (/** @type {any} */ { id, options }) => {
  try {
    process.send?.({ id, value: await measureSection(options) });
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? error.stack : String(error) });
  }
});

// Ctrl-C reaches the whole group. The parent decides, and its end is noticed here.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", () => process.exit(0));
