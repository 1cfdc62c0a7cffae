/**
 * Results as tables: on standard output, and in `docs/benchmarks.md`, where each part owns
 * the text between two marks, so that running one part leaves the others as they were.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { machine } from './machine.ts';
import { plotPart } from './plot.ts';
import { isFullSize } from './scale.ts';

export interface PartResult {
  /** Name on the command line. */
  part: string;
  title: string;
  /** What was done and what makes the comparison fair or not; sentences. */
  notes: string[];
  head: string[];
  rows: string[][];
}

const page = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url));

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** A table with aligned columns, valid as Markdown and readable in a terminal. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((name, i) =>
    Math.max(name.length, 3, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, i) => (cells[i] ?? '').padEnd(width)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** Prints a result and puts it into the page, unless it is of a smaller run. */
export function record(result: PartResult): void {
  const body = table(result.head, result.rows);
  say(`\n${result.title}\n\n${body}\n`);
  for (const note of result.notes) {
    say(`  ${note}`);
  }
  if (!isFullSize) {
    return;
  }
  const picture = plotPart(result.part, result.head, result.rows);
  const day = new Date().toISOString().slice(0, 10);
  const section = [
    mark(result.part, 'begin'),
    `## ${result.title}`,
    '',
    `\`scripts/bench/run ${result.part}\`, ${day}, ${machine()}.`,
    '',
    ...(picture === null ? [] : [picture, '']),
    body,
    '',
    ...result.notes.map((note) => `- ${note}`),
    mark(result.part, 'end'),
  ].join('\n');
  writeFileSync(page, replaceSection(readFileSync(page, 'utf8'), result.part, section));
}

function mark(part: string, edge: 'begin' | 'end'): string {
  return `<!-- ${edge} ${part} -->`;
}

function replaceSection(text: string, part: string, section: string): string {
  const begin = text.indexOf(mark(part, 'begin'));
  const end = text.indexOf(mark(part, 'end'));
  if (begin < 0 || end < begin) {
    return `${text.trimEnd()}\n\n${section}\n`;
  }
  return text.slice(0, begin) + section + text.slice(end + mark(part, 'end').length);
}
