/** Tables for people, JSON for programs. Pure but for `print`. */

export type OutputFormat = 'table' | 'wide' | 'json';

/** A column of a table; `wide` ones are shown with `-o wide` only. */
export interface Column<Row> {
  title: string;
  value(row: Row): string | number | null;
  wide?: boolean;
}

/** Lays rows out under titles, columns as wide as they need to be. */
export function formatTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  wide = false,
): string {
  const shown = columns.filter((column) => wide || column.wide !== true);
  const lines = [
    shown.map((column) => column.title),
    ...rows.map((row) => shown.map((column) => String(column.value(row) ?? '-'))),
  ];
  const widths = shown.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
}

/** One JSON document. */
export function formatJson(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** Writes a text and a line end to standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** `2m05s`, `3h10m`: how long ago or until, for a table. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) {
    return `${seconds}s`;
  }
  const two = (value: number) => String(value).padStart(2, '0');
  if (seconds < 3600) {
    return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  }
  return `${Math.floor(seconds / 3600)}h${two(Math.floor((seconds % 3600) / 60))}m`;
}
