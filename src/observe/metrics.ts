/**
 * Measurements of a server in Prometheus text: what TypeScript counts, the process itself, and
 * what the Rust side counts, merged when they are asked for.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';

/** Gives Prometheus text; called once a scrape. */
export type MetricsSource = () => string;

/** All measurements of this process. */
export class Metrics {
  /** Where TypeScript registers its own counters. */
  readonly registry = new Registry();
  readonly #sources: MetricsSource[] = [];

  constructor(server: string) {
    this.registry.setDefaultLabels({ server });
    collectDefaultMetrics({ register: this.registry, prefix: 'raftpbx_' });
  }

  /** Adds a part of the Rust side. */
  add(source: MetricsSource): void {
    this.#sources.push(source);
  }

  /** Everything, as one text. */
  async text(): Promise<string> {
    const parts = [await this.registry.metrics()];
    for (const source of this.#sources) {
      parts.push(source());
    }
    return parts.map((part) => (part.endsWith('\n') || part === '' ? part : `${part}\n`)).join('');
  }

  /** For the `content-type` of the answer. */
  get contentType(): string {
    return this.registry.contentType;
  }
}
