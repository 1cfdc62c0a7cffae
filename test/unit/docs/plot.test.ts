import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { barsOf, drawn, plots, tableOf } from '../../../scripts/bench/plot.ts';

const docs = fileURLToPath(new URL('../../../docs/', import.meta.url));

describe('pictures of benchmarks', () => {
  const plot = { title: 'Speed', names: ['what', 'relay'], column: 'us' };
  const page = [
    '<!-- begin speed -->',
    '| what | relay        | us   |',
    '| ---- | ------------ | ---- |',
    '| a    | ours, pass 1 | 1.00 |',
    '| a    | b & c        | -    |',
    '| a    | theirs       | 4.00 |',
    '| a    | ours, pass 2 | 2.00 |',
    '<!-- end speed -->',
  ].join('\n');

  it('have a bar for each name, the mean of its passes', () => {
    const [head = [], ...rows] = tableOf(page, 'speed');
    expect(barsOf(plot, head, rows)).toEqual([
      { name: 'a: ours', value: 1.5 },
      { name: 'a: theirs', value: 4 },
    ]);
    expect(tableOf(page, 'nothing')).toEqual([]);
  });

  it('are as long as their values and hold no markup of names', () => {
    const picture = drawn('Speed', [
      { name: 'b & <c>', value: 1 },
      { name: 'raftpbx', value: 2 },
    ]);
    expect(picture).toContain('b &amp; &lt;c&gt;');
    const widths = [...picture.matchAll(/<rect [^>]*width="(\d+)"/g)].map((match) => match[1]);
    expect(Number(widths[1])).toBe(2 * Number(widths[0]));
  });

  it('are there when the page shows them, drawn from its tables', () => {
    const text = readFileSync(`${docs}benchmarks.md`, 'utf8');
    for (const [part, plot] of Object.entries(plots)) {
      const [head = [], ...rows] = tableOf(text, part);
      if (rows.length > 0) {
        expect(text).toContain(`(plots/${part}.svg)`);
        expect(existsSync(`${docs}plots/${part}.svg`)).toBe(true);
        const picture = readFileSync(`${docs}plots/${part}.svg`, 'utf8');
        const wanted = drawn(plot.title, barsOf(plot, head, rows));
        expect(picture, 'run node scripts/bench/plot.ts').toBe(wanted);
      }
    }
  });
});
