/** How far a long command is, on a terminal only: one line that is written over. */

/** Between two looks of a person. */
const intervalMs = 500;

export class Progress {
  readonly #what: string;
  readonly #started = performance.now();
  #shownAt = 0;
  #bytes = 0;

  constructor(what: string) {
    this.#what = what;
  }

  /** Counts bytes and shows the sum now and then. */
  add(bytes: number): void {
    this.#bytes += bytes;
    const now = performance.now();
    if (process.stderr.isTTY && now - this.#shownAt >= intervalMs) {
      this.#shownAt = now;
      const mebibytes = this.#bytes / 2 ** 20;
      const rate = (mebibytes * 1000) / (now - this.#started);
      process.stderr.write(
        `\r${mebibytes.toFixed(1)} MiB, ${this.#what}, ${rate.toFixed(1)} MiB/s `,
      );
    }
  }

  /** Removes the line. */
  end(): void {
    if (this.#shownAt > 0) {
      process.stderr.write('\r\u001b[K');
    }
  }
}
