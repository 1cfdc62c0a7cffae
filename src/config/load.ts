/**
 * Reads a server's configuration file. Every problem names file, line, column and the fix, and
 * all problems of a file are told at once: nobody should have to start a server six times.
 */
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { type Document, isMap, isNode, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { nearest } from './nearest.ts';
import { type ServerConfig, serverSchema } from './schema.ts';

/** One thing that is wrong in a file. Lines and columns count from 1. */
export interface ConfigProblem {
  line: number;
  column: number;
  message: string;
  fix: string;
}

/** Everything that is wrong in a configuration file. */
export class ConfigError extends Error {
  readonly code = 'PBX_CONFIG_INVALID';
  readonly file: string;
  readonly problems: readonly ConfigProblem[];

  constructor(file: string, problems: readonly ConfigProblem[]) {
    const lines = problems.map(
      (one) => `${file}:${one.line}:${one.column}: ${one.message}\n  fix: ${one.fix}`,
    );
    super(lines.join('\n'));
    this.name = 'ConfigError';
    this.file = file;
    this.problems = problems;
  }
}

type Path = readonly (string | number)[];
type Issue = z.core.$ZodIssue;

/** Reads, checks and completes a file; file names in it become absolute. Throws `ConfigError`. */
export function loadConfig(file: string): ServerConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ConfigError(file, [
      {
        line: 1,
        column: 1,
        message: `cannot be read: ${(cause as Error).message}`,
        fix: 'give the path of a readable file with --config',
      },
    ]);
  }
  return withAbsoluteFiles(parseConfig(text, file), dirname(resolve(file)));
}

/** Checks and completes the text of a configuration. Throws `ConfigError`. */
export function parseConfig(text: string, file: string): ServerConfig {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const at = (offset: number) => {
    const { line, col } = counter.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  if (document.errors.length > 0) {
    throw new ConfigError(
      file,
      document.errors.map((error) => ({
        ...at(error.pos[0]),
        message: `is not YAML: ${error.message}`,
        fix: 'check indentation, quotes and brackets around this place',
      })),
    );
  }
  const result = serverSchema.safeParse(document.toJS() ?? {});
  if (result.success) {
    return result.data;
  }
  const problems = result.error.issues.flatMap((issue) =>
    problemsOf(issue).map(({ path, onKey, message, fix }) => ({
      ...at(offsetOf(document, path, onKey)),
      message,
      fix,
    })),
  );
  problems.sort((a, b) => a.line - b.line || a.column - b.column);
  throw new ConfigError(file, problems);
}

interface Located {
  path: Path;
  /** The key is meant, not its value. */
  onKey: boolean;
  message: string;
  fix: string;
}

function problemsOf(issue: Issue): Located[] {
  const path = issue.path as (string | number)[];
  const name = path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(path);
    return issue.keys.map((key) => {
      const full = [...path, key];
      const message = `'${full.join('.')}' is not a known key`;
      return { path: full, onKey: true, message, fix: fixOfKey(full.join('.'), key, known) };
    });
  }
  if (issue.code === 'invalid_type' && isMissing(issue)) {
    const key = String(path.at(-1));
    return [
      {
        path: path.slice(0, -1),
        onKey: false,
        message: `'${name}' is missing`,
        fix: `add '${key}: ${exampleAt(path)}'`,
      },
    ];
  }
  const said = messageOf(issue);
  const fix = `write ${describeAt(path)}, for example: ${exampleAt(path)}`;
  return [{ path, onKey: false, message: `'${name}' ${said}`, fix }];
}

function isMissing(issue: Issue): boolean {
  return issue.message.endsWith('received undefined');
}

function messageOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${issue.expected === 'int' ? 'a whole number' : `of type ${issue.expected}`}`;
    case 'invalid_value':
      return `must be one of: ${issue.values.join(', ')}`;
    case 'too_small':
      return issue.message.startsWith('Too') ? `is below ${issue.minimum}` : issue.message;
    case 'too_big':
      return issue.message.startsWith('Too') ? `is above ${issue.maximum}` : issue.message;
    default:
      return issue.message;
  }
}

/** Where in the text a path is, or the nearest parent that is written. */
function offsetOf(document: Document, path: Path, onKey: boolean): number {
  for (let length = path.length; length > 0; length -= 1) {
    const parent =
      length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    const pair = isMap(parent)
      ? parent.items.find((one) => String((one.key as { value?: unknown }).value) === String(last))
      : undefined;
    const key = isNode(pair?.key) ? pair.key.range?.[0] : undefined;
    if (key !== undefined && (onKey || length < path.length)) {
      return key;
    }
    const value = document.getIn(path.slice(0, length), true);
    const range = isNode(value) ? value.range : undefined;
    if (range !== null && range !== undefined) {
      return range[0];
    }
    if (key !== undefined) {
      return key;
    }
  }
  return 0;
}

/** The part of the schema a path names, without its optional and default wrappings. */
function schemaAt(path: Path): z.core.$ZodType | undefined {
  let schema: z.core.$ZodType | undefined = serverSchema;
  for (const step of path) {
    const inner = unwrap(schema);
    const shape = (inner as { shape?: Record<string, z.core.$ZodType> } | undefined)?.shape;
    schema = shape === undefined ? (inner as { element?: z.core.$ZodType }).element : shape[step];
    if (schema === undefined) {
      return undefined;
    }
  }
  return schema;
}

function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  let inner = schema;
  for (;;) {
    const next = (inner?._zod.def as { innerType?: z.core.$ZodType } | undefined)?.innerType;
    if (next === undefined) {
      return inner;
    }
    inner = next;
  }
}

/** Keys with another name now. */
const renamed: Record<string, string> = { 'sip.trusted': 'neverBanned' };

function fixOfKey(full: string, key: string, known: readonly string[]): string {
  const now = renamed[full];
  if (now !== undefined) {
    return `it is called '${now}' now: rename it`;
  }
  const guess = nearest(key, known);
  return guess === undefined
    ? `remove it; known here: ${known.join(', ')}`
    : `did you mean '${guess}'?`;
}

function keysAt(path: Path): string[] {
  const shape = (unwrap(schemaAt(path)) as { shape?: object } | undefined)?.shape;
  return Object.keys(shape ?? {});
}

function describeAt(path: Path): string {
  const schema = schemaAt(path) as z.ZodType | undefined;
  return schema?.description ?? 'a value of the right kind';
}

/** An example of what belongs at a path, in YAML's flow style. */
export function exampleAt(path: Path): string {
  return exampleOf(schemaAt(path));
}

/** An example of what a part of the schema accepts, in YAML's flow style. */
export function exampleOf(schema: z.core.$ZodType | undefined): string {
  const outer = schema as z.ZodType | undefined;
  const given = outer?.meta()?.example ?? (unwrap(schema) as z.ZodType).meta()?.example;
  if (given !== undefined) {
    return String(given);
  }
  const def = unwrap(schema)?._zod.def as {
    type?: string;
    shape?: Record<string, z.core.$ZodType>;
    element?: z.core.$ZodType;
    entries?: Record<string, string>;
  };
  if (def.shape !== undefined) {
    const needed = Object.entries(def.shape).filter(([, one]) => one._zod.optin !== 'optional');
    return `{ ${needed.map(([key, one]) => `${key}: ${exampleOf(one)}`).join(', ')} }`;
  }
  if (def.element !== undefined) {
    return `[${exampleOf(def.element)}]`;
  }
  if (def.entries !== undefined) {
    return Object.keys(def.entries)[0] ?? '';
  }
  return def.type === 'number' ? '1' : 'text';
}

/** Every key that names a file or a directory. */
const filePaths: Path[] = [
  ['directory'],
  ['cluster', 'secretFile'],
  ['cluster', 'certificates', 'authority'],
  ['cluster', 'certificates', 'certificate'],
  ['cluster', 'certificates', 'key'],
  ['store', 'passwordFile'],
  ['sip', 'engineAuthority'],
  ['sip', 'drachtioSecretFile'],
  ['sip', 'hep', 'passwordFile'],
  ['sip', 'tls', 'certificate'],
  ['sip', 'tls', 'key'],
  ['sip', 'tls', 'authority'],
  ['sip', 'applications', 'tls', 'certificate'],
  ['sip', 'applications', 'tls', 'key'],
  ['media', 'recordings'],
  ['media', 'prompts'],
  ['media', 'codecs'],
  ['api', 'certificate'],
  ['api', 'key'],
  ['api', 'adminFile'],
];

function withAbsoluteFiles(config: ServerConfig, base: string): ServerConfig {
  const copy = structuredClone(config);
  for (const path of filePaths) {
    let holder = copy as unknown as Record<string, unknown> | undefined;
    for (const step of path.slice(0, -1)) {
      holder = holder?.[step] as Record<string, unknown> | undefined;
    }
    const key = String(path.at(-1));
    const value = holder?.[key];
    const absolute = (name: string) => (isAbsolute(name) ? name : join(base, name));
    if (holder !== undefined && typeof value === 'string') {
      holder[key] = absolute(value);
    } else if (holder !== undefined && Array.isArray(value)) {
      holder[key] = value.map((name) => absolute(String(name)));
    }
  }
  return copy;
}
