/** The faults themselves: a trial proves nothing if its disk and its clocks do not misbehave. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { buildLibrary } from '../support/faults/build.ts';
import { Control, writeFails } from '../support/faults/control.ts';
import { Dice } from '../support/faults/dice.ts';
import { cutPower, mendJournal } from '../support/faults/power-cut.ts';

const root = realpathSync(mkdtempSync(join(tmpdir(), 'raftpbx-fault-')));
const library = buildLibrary(root);
const directory = join(root, 'disk');
const journal = join(root, 'journal');
const environment = {
  ...process.env,
  LD_PRELOAD: library,
  FAULT_DIRECTORY: directory,
  FAULT_CONTROL: join(root, 'control'),
  FAULT_JOURNAL: journal,
};

let control: Control;

beforeEach(() => {
  rmSync(directory, { recursive: true, force: true });
  rmSync(journal, { force: true });
  mkdirSync(directory);
  control = new Control(join(root, 'control'));
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Runs a piece of JavaScript with a file `f` open below the faulty directory. */
function act(code: string): { status: number | null; stdout: string } {
  const text = `const fs = require('fs'); const f = fs.openSync('${directory}/file', 'a+'); ${code}`;
  // 'a+' appends: positions are given by the length of the file.
  return spawnSync(process.execPath, ['-e', text], { env: environment, encoding: 'utf8' });
}

const content = () => readFileSync(join(directory, 'file'), 'latin1');
const cut = (survival: 'none' | 'some' = 'none') =>
  cutPower(directory, journal, new Dice(1), survival);

describe('a power cut', () => {
  it('keeps what was flushed and loses the rest', () => {
    act(`fs.writeSync(f, 'kept'); fs.fdatasyncSync(f); fs.writeSync(f, 'lost')`);
    expect(content()).toBe('keptlost');
    expect(cut()).toMatchObject({ unflushed: 1, lost: 1 });
    expect(content()).toBe('kept');
  });

  it('restores what was overwritten', () => {
    writeFileSync(join(directory, 'file'), 'abcdef');
    act(`const g = fs.openSync('${directory}/file', 'r+');
      fs.writeSync(g, 'XY', 1); fs.writeSync(g, 'Z', 2);`);
    expect(content()).toBe('aXZdef');
    cut();
    expect(content()).toBe('abcdef');
  });

  it('loses what a process wrote that was killed before, unless a later one flushes it', () => {
    act(`fs.writeSync(f, 'one'); process.kill(process.pid, 'SIGKILL')`);
    mendJournal(journal);
    act(`fs.writeSync(f, 'two')`);
    cut();
    expect(content()).toBe('');
    act(`fs.writeSync(f, 'one'); process.kill(process.pid, 'SIGKILL')`);
    mendJournal(journal);
    act(`fs.fsyncSync(f)`);
    expect(cut()).toMatchObject({ unflushed: 0, lost: 0 });
    expect(content()).toBe('one');
  });

  it('loses what a failed flush has left, whatever is flushed later', () => {
    control.set('flushFails', 1);
    act(`fs.writeSync(f, 'lost'); try { fs.fdatasyncSync(f) } catch { process.exitCode = 7 }`);
    control.set('flushFails', 0);
    expect(control.get('flushesFailed')).toBe(1);
    act(`fs.fdatasyncSync(f)`);
    cut();
    expect(content()).toBe('');
  });

  it('may keep some of what was not flushed, the same with the same dice', () => {
    const pieces = Array.from({ length: 20 }, (_, i) => String.fromCharCode(97 + i).repeat(3));
    const writes = pieces.map((piece) => `fs.writeSync(f, '${piece}');`).join('');
    act(writes);
    const { unflushed, lost } = cut('some');
    const first = content();
    expect(unflushed).toBe(20);
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(20);
    rmSync(join(directory, 'file'));
    act(writes);
    cut('some');
    expect(content()).toBe(first);
  });
});

describe('a disk', () => {
  it('is full', () => {
    control.set('writeFails', writeFails.extendingNoSpace);
    const { stdout } = act(`try { fs.writeSync(f, 'x') } catch (e) { console.log(e.code) }`);
    expect(stdout.trim()).toBe('ENOSPC');
    expect(control.get('writesFailed')).toBe(1);
  });

  it('fails to flush and is slow', () => {
    control.set('flushFails', 1);
    control.set('flushDelayUs', 200_000);
    const { stdout } = act(
      `const t = Date.now(); try { fs.fsyncSync(f) } catch (e) { console.log(e.code, Date.now() - t) }`,
    );
    const [code, ms] = stdout.trim().split(' ');
    expect(code).toBe('EIO');
    expect(Number(ms)).toBeGreaterThanOrEqual(195);
  });

  it('works elsewhere all the while', () => {
    control.set('writeFails', writeFails.allEio);
    const { status } = act(`fs.writeFileSync('${root}/elsewhere', 'x')`);
    expect(status).toBe(0);
  });
});

describe('a clock', () => {
  it('jumps in a running process', async () => {
    const code = `const say = () => console.log(Date.now(), Math.round(performance.now()));
      process.stdin.on('data', say); say();`;
    const child = spawn(process.execPath, ['-e', code], { env: environment });
    const next = () =>
      new Promise<number[]>((resolve) => {
        child.stdout.once('data', (bytes) => resolve(String(bytes).trim().split(' ').map(Number)));
      });
    const [before] = (await next()) as [number, number];
    control.set('wallOffsetNs', 3_600_000 * 1e6);
    child.stdin.write('x');
    const [after] = (await next()) as [number, number];
    child.kill('SIGKILL');
    expect(after - before).toBeGreaterThan(3_590_000);
    expect(control.get('wallReadsShifted')).toBeGreaterThan(0);
  });
});
