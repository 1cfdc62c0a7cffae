/** Patterns of numbers: which fits best, and how a number is rewritten. Pure. */

const classes: Record<string, RegExp> = { X: /[0-9]/, Z: /[1-9]/, N: /[2-9]/ };

/** Whether a number fits: X, Z and N are digits, a dot at the end is one or more of anything. */
export function fits(pattern: string, number: string): boolean {
  const isOpen = pattern.endsWith('.');
  const fixed = isOpen ? pattern.slice(0, -1) : pattern;
  if (isOpen ? number.length <= fixed.length : number.length !== fixed.length) {
    return false;
  }
  return [...fixed].every((wanted, at) => {
    const one = number[at] ?? '';
    return classes[wanted]?.test(one) ?? wanted === one;
  });
}

/** How much a character says: a digit more than a class, N and Z more than X. */
const weights: Record<string, number> = { '.': 0, X: 1, Z: 2, N: 3 };
const literal = 4;

/** Negative when `a` says more than `b`, read from the front; the same text is 0. */
export function compareSpecific(a: string, b: string): number {
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const difference = weightAt(b, at) - weightAt(a, at);
    if (difference !== 0) {
      return difference;
    }
  }
  return a < b ? -1 : Number(a > b);
}

function weightAt(pattern: string, at: number): number {
  const one = pattern[at];
  return one === undefined ? -1 : (weights[one] ?? literal);
}

/** The route whose pattern says most about the number; null when none fits. */
export function bestRoute<Route extends { pattern: string }>(
  routes: readonly Route[],
  number: string,
): Route | null {
  const fitting = routes.filter((route) => fits(route.pattern, number));
  return fitting.sort((a, b) => compareSpecific(a.pattern, b.pattern))[0] ?? null;
}

export function rewrite(number: string, { strip, prepend }: { strip: number; prepend: string }) {
  return prepend + number.slice(strip);
}
