/** `SCALE=0.1 scripts/bench/run registrations` measures with a tenth of the users and calls. */

/** Smallest count that still says something. */
const leastMax = 20;

const scale = Number(process.env.SCALE ?? '1');
if (!(scale > 0)) {
  throw new Error(`SCALE is '${process.env.SCALE}', it must be a number above 0`);
}

/** Whether figures may stand in the documentation. */
export const isFullSize = scale === 1;

/** So many of what a full run has `full` of. */
export function scaled(full: number): number {
  return Math.max(Math.min(full, leastMax), Math.round(full * scale));
}
