/** Writes `docs/reference/config.md` from the schema, so that the two cannot differ. Pure. */
import type { z } from 'zod';
import { exampleOf } from './load.ts';
import { serverSchema } from './schema.ts';

interface Row {
  key: string;
  meaning: string;
  value: string;
}

type Schema = z.ZodType & {
  shape?: Record<string, Schema>;
  element?: Schema;
};

const introduction = `# The configuration of a server

One YAML file a server, given with \`raftpbx start --config FILE\`. A key that is not listed here is
refused, and every mistake is reported with file, line, column and what to write instead; all
mistakes of a file are reported at once. Secrets are not in the file: it names the files that hold
them, which must be readable by their owner only. Names of files are relative to the configuration.
\`make cluster-up\` writes such a file for every server of the lab: \`.lab/<server>/config.yaml\`.
`;

/** The whole page. */
export function referencePage(examples: { callManager: string; media: string }): string {
  const sections = Object.entries(serverSchema.shape as unknown as Record<string, Schema>);
  const simple = sections.filter(([, schema]) => innerOf(schema).shape === undefined);
  const nested = sections.filter(([, schema]) => innerOf(schema).shape !== undefined);
  return [
    introduction,
    '## A Call Manager\n',
    `\`\`\`yaml\n${examples.callManager}\`\`\`\n`,
    '## A media server\n',
    `\`\`\`yaml\n${examples.media}\`\`\`\n`,
    '## Keys of the file itself\n',
    table(simple.map(([key, schema]) => rowOf(key, schema))),
    ...nested.flatMap(([key, schema]) => [
      `## ${key}\n`,
      `${capitalised(schema.description ?? '')}.\n`,
      table(rowsOf(innerOf(schema), '')),
    ]),
  ].join('\n');
}

function rowsOf(schema: Schema, prefix: string): Row[] {
  return Object.entries(schema.shape ?? {}).flatMap(([key, one]) => {
    const inner = innerOf(one);
    const isList = inner.element !== undefined;
    const nested = isList ? innerOf(inner.element as Schema) : inner;
    const name = `${prefix}${key}${isList ? '[]' : ''}`;
    if (nested.shape === undefined) {
      return [rowOf(name, one)];
    }
    const own = { key: name, meaning: one.description ?? '', value: need(one) };
    return [own, ...rowsOf(nested, `${name}.`)];
  });
}

function rowOf(key: string, schema: Schema): Row {
  return {
    key,
    meaning: schema.description ?? innerOf(schema).description ?? '',
    value: hasDefault(schema) ? need(schema) : `${need(schema)}; like \`${exampleOf(schema)}\``,
  };
}

function hasDefault(schema: Schema): boolean {
  return schema._zod.def.type === 'default';
}

function need(schema: Schema): string {
  if (hasDefault(schema)) {
    const { defaultValue } = schema._zod.def as { defaultValue?: unknown };
    return `default \`${shown(defaultValue)}\``;
  }
  return schema._zod.optin === 'optional' ? 'optional' : 'required';
}

function shown(value: unknown): string {
  const range = value as { from?: number; to?: number };
  return range.from === undefined ? String(value) : `${range.from}-${range.to}`;
}

function innerOf(schema: Schema): Schema {
  const next = (schema._zod.def as { innerType?: Schema }).innerType;
  return next === undefined ? schema : innerOf(next);
}

function table(rows: Row[]): string {
  const lines = rows.map(({ key, meaning, value }) => `| \`${key}\` | ${meaning} | ${value} |`);
  return ['| key | meaning | value |', '|---|---|---|', ...lines, ''].join('\n');
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
