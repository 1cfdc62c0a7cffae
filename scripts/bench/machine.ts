/** What the measurements ran on, and how much processor time a process has used. */
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** One line for the report. */
export function machine(): string {
  const model = cpus()[0]?.model ?? 'unknown processor';
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} cores of ${model}, ${gigabytes} GB, Linux ${release()}`;
}

/** Ticks of `/proc/PID/stat` in one second; fixed at 100 for user space. */
const ticksPerSecond = 100;

/** User and system time of a process, its threads and its ended children, in seconds. */
export function cpuSeconds(pid: number): number {
  const fields = statFields(pid);
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** The same for a process and all its descendants: a server that forks workers. */
export function cpuSecondsOfTree(root: number): number {
  return treeOf(root).reduce((sum, pid) => sum + cpuSeconds(pid), 0);
}

/** Memory of a process and all its descendants; what they share counts once. */
export function memoryBytesOfTree(root: number): number {
  return treeOf(root).reduce((sum, pid) => sum + memoryBytes(pid), 0);
}

/** Its part of the memory it shares, and all of its own. */
function memoryBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  return Number(/^Pss: *(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024;
}

function treeOf(root: number): number[] {
  const family = new Set([root]);
  const parents = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0)
    .map((pid) => ({ pid, parent: parentOf(pid) }))
    .sort((a, b) => a.pid - b.pid);
  for (const { pid, parent } of parents) {
    if (family.has(parent)) {
      family.add(pid);
    }
  }
  return [...family];
}

function parentOf(pid: number): number {
  try {
    return Number(statFields(pid)[1]);
  } catch {
    // It ended while we were looking.
    return 0;
  }
}

/** Fields of `/proc/PID/stat` after the name, which may itself hold spaces and brackets. */
function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** The value below which `share` of the sorted samples lie. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const rank = Math.ceil(share * sorted.length) - 1;
  return sorted[Math.min(sorted.length - 1, Math.max(0, rank))] ?? Number.NaN;
}
