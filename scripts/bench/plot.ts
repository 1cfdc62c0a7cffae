/**
 * Pictures of tables: bars of one column, drawn as SVG from what stands in `docs/benchmarks.md`.
 *
 * `record` draws the picture of a part together with its table; `node scripts/bench/plot.ts` draws
 * all of them anew from the page. No library: a bar is a rectangle. Colours follow the reader's
 * light or dark page.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What is drawn of a table. */
export interface Plot {
  /** What the bars show, with its unit. */
  title: string;
  /** Columns that name a bar, joined by a comma. */
  names: readonly string[];
  /** The column with the values. */
  column: string;
}

export interface Bar {
  name: string;
  value: number;
}

/** Pictures by the part whose table they show. */
export const plots: Readonly<Record<string, Plot>> = {
  relay: {
    title: 'Relay: processor time per packet, µs (less is better)',
    names: ['relay'],
    column: 'CPU us/pkt',
  },
  conversions: {
    title: 'Encrypting and transcoding: processor time per packet, µs (less is better)',
    names: ['between', 'relay'],
    column: 'CPU us/pkt',
  },
  ng: {
    title: 'Signalling: calls set up and taken down per second of processor time (more is better)',
    names: ['relay'],
    column: 'cycles/CPU-s',
  },
};

const folder = fileURLToPath(new URL('../../docs/plots', import.meta.url));
const page = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url));

/** Bars of a table: passes of the same thing become their mean. */
export function barsOf(
  plot: Plot,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): Bar[] {
  const at = plot.names.map((name) => head.indexOf(name));
  const column = head.indexOf(plot.column);
  const values = new Map<string, number[]>();
  for (const row of rows) {
    const value = Number(row[column]);
    if (column >= 0 && Number.isFinite(value)) {
      const parts = at.map((n) => (row[n] ?? '').replace(/, pass \d+$/, ''));
      const name = parts.join(': ');
      values.set(name, [...(values.get(name) ?? []), value]);
    }
  }
  return [...values].map(([name, list]) => ({
    name,
    value: list.reduce((sum, value) => sum + value, 0) / list.length,
  }));
}

const size = { bar: 22, gap: 8, left: 300, width: 420, right: 90, top: 44 };

/** Bars with their values behind them; ours are coloured. */
export function drawn(title: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map(({ value }) => value), Number.EPSILON);
  const step = size.bar + size.gap;
  const height = size.top + bars.length * step + size.gap;
  const width = size.left + size.width + size.right;
  const lines = bars.flatMap(({ name, value }, n) => {
    const y = size.top + n * step;
    const middle = y + size.bar / 2;
    const long = Math.max(1, Math.round((value / most) * size.width));
    const kind = name.includes('raftpbx') ? 'ours' : 'theirs';
    const { left, bar } = size;
    return [
      `<text x="${left - 8}" y="${middle}" class="name">${escaped(name)}</text>`,
      `<rect x="${left}" y="${y}" width="${long}" height="${bar}" rx="3" class="${kind}"/>`,
      `<text x="${left + long + 6}" y="${middle}">${shown(value)}</text>`,
    ];
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    '<style>',
    'text { font: 13px system-ui, sans-serif; fill: #1f2328; dominant-baseline: central }',
    '.title { font-weight: 600; font-size: 15px }',
    '.name { text-anchor: end }',
    '.ours { fill: #0969da } .theirs { fill: #8c959f }',
    '@media (prefers-color-scheme: dark) {',
    'text { fill: #e6edf3 } .ours { fill: #4493f8 } .theirs { fill: #6e7681 }',
    '}',
    '</style>',
    `<text x="8" y="20" class="title">${escaped(title)}</text>`,
    ...lines,
    '</svg>',
  ].join('\n')}\n`;
}

function shown(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

/** Draws the picture of a part; the line that shows it on the page, or none. */
export function plotPart(
  part: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string | null {
  const plot = plots[part];
  const bars = plot === undefined ? [] : barsOf(plot, head, rows);
  if (plot === undefined || bars.length === 0) {
    return null;
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/${part}.svg`, drawn(plot.title, bars));
  return `![${plot.title}](plots/${part}.svg)`;
}

/** Head and rows of the table that a part has on the page. */
export function tableOf(text: string, part: string): string[][] {
  const from = text.indexOf(`<!-- begin ${part} -->`);
  const section = from < 0 ? '' : text.slice(from, text.indexOf(`<!-- end ${part} -->`));
  const lines = section.split('\n').filter((line) => /^\|(?! -)/.test(line));
  return lines.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = readFileSync(page, 'utf8');
  for (const part of Object.keys(plots)) {
    const [head = [], ...rows] = tableOf(text, part);
    const line = plotPart(part, head, rows);
    process.stdout.write(`${dirname(page)}: ${line ?? `no table of ${part}`}\n`);
  }
}
