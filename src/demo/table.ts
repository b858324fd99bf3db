/** A column's name, and where its cells stand. */
export interface Column {
  title: string;
  align: "left" | "right";
}

/** Lines of a table with aligned columns, two spaces apart. */
export function formatTable(columns: readonly Column[], rows: readonly string[][]): string[] {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, i) => Math.max(...lines.map((cells) => cells[i]?.length ?? 0)));
  return lines.map((cells) =>
    columns
      .map(({ align }, i) => {
        const cell = cells[i] ?? "";
        return align === "left" ? cell.padEnd(widths[i]) : cell.padStart(widths[i]);
      })
      .join("  ")
      .trimEnd(),
  );
}

/** 12345.6 as 12,346. */
export function formatCount(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A share of 0..1 as 34.5 %. */
export function formatShare(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Milliseconds with the digits that matter. */
export function formatMs(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}
