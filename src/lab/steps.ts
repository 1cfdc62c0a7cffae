/** Tells a person what happens: numbered steps, each with a tick and its seconds. */

export interface Steps {
  /** Runs one step under a title. */
  step<Value>(title: string, work: () => Promise<Value> | Value): Promise<Value>;
}

/** Steps that are told to nobody. */
export const silentSteps: Steps = { step: async (_title, work) => work() };

/** Steps on a stream, of a number known before. */
export function toldSteps(total: number, write: (text: string) => void): Steps {
  let number = 0;
  return {
    async step(title, work) {
      number += 1;
      const started = performance.now();
      write(`  ${number}/${total} ${title.padEnd(44)} `);
      try {
        const value = await work();
        write(`✓ ${seconds(started)}\n`);
        return value;
      } catch (error) {
        write(`✗ ${seconds(started)}\n`);
        throw error;
      }
    },
  };
}

function seconds(started: number): string {
  return `${((performance.now() - started) / 1000).toFixed(2)} s`;
}
