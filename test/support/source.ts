/** Reads the project's own source text, for the tests of its tidiness. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url));

/** Directories that hold nothing written by hand. */
const skipped = new Set(['node_modules', 'target', '.git', '.lab', 'report', 'dist']);

/** Every file below some directories, relative to the project, that ends in one of `endings`. */
export function listFiles(directories: readonly string[], endings: readonly string[]): string[] {
  const found: string[] = [];
  const walk = (directory: string) => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory() && !skipped.has(entry.name)) {
        walk(path);
      } else if (entry.isFile() && endings.some((ending) => entry.name.endsWith(ending))) {
        found.push(relative(projectRoot, path));
      }
    }
  };
  for (const directory of directories) {
    walk(join(projectRoot, directory));
  }
  return found.sort();
}

export function readProjectFile(file: string): string {
  return readFileSync(join(projectRoot, file), 'utf8');
}

/** Joins alternatives of a pattern; written one a line because no formatter can break them. */
function anyOf(flags: string, ...alternatives: RegExp[]): RegExp {
  return new RegExp(alternatives.map((one) => one.source).join('|'), flags);
}

/** Text and comments of Rust. */
const rustToken = anyOf(
  'g',
  /r(#*)"[\s\S]*?"\1/,
  /b?"(?:\\[\s\S]|[^"\\])*"/,
  /b?'(?:\\[^\n]{1,8}?|[^'\\\n])'/,
  /\/\/[^\n]*|\/\*[\s\S]*?\*\//,
);

/** Text, comments and regular expressions of TypeScript. */
const typeScriptToken = anyOf(
  'g',
  /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/,
  /\/\/[^\n]*|\/\*[\s\S]*?\*\//,
  /(?<=[(,=:[!&|?{};\n] *)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//,
);

/** The longest text in quotes on a line, which no formatter can break. */
export function longestText(line: string, file: string): number {
  const token = file.endsWith('.rs') ? rustToken : typeScriptToken;
  const texts = [...line.matchAll(token)].map(([text]) => text);
  return Math.max(0, ...texts.filter((text) => !/^\/[/*]/.test(text)).map((text) => text.length));
}

/** The text with strings and comments emptied; line numbers stay as they are. */
export function withoutText(source: string, file: string): string {
  const token = file.endsWith('.rs') ? rustToken : typeScriptToken;
  return source.replace(token, (text) => text.replace(/[^\n]/g, ' '));
}

/** A function of a file. Lines count from 1. */
export interface FunctionSpan {
  name: string;
  line: number;
  lines: number;
}

const rustFunction = /\bfn\s+(\w+)/g;
const typeScriptFunction = anyOf(
  'gm',
  /\bfunction\s*\*?\s*(\w+)/,
  /^ {2,}(?:(?:static|async|override|get|set)\s+)*(#?\w+)(?:<[^(]*>)?\((?=[^;]*?\)[^;{]*\{)/,
  /\bconst\s+(\w+)\s*=\s*(?:async\s*)?\([^;]*?\)[^;=]*=>\s*(?=\{)/,
);
const notMethods = new Set(['if', 'for', 'while', 'switch', 'catch', 'return', 'function']);

/** Named functions and methods with a body; callbacks count as part of what they stand in. */
export function functionsOf(source: string, file: string): FunctionSpan[] {
  const text = withoutText(source, file);
  const isRust = file.endsWith('.rs');
  const spans: FunctionSpan[] = [];
  for (const match of text.matchAll(isRust ? rustFunction : typeScriptFunction)) {
    const name = match[1] ?? match[2] ?? match[3] ?? '';
    const end = notMethods.has(name) ? null : endOfBody(text, match.index);
    // Tests are named by their sentence: what counts there is the file.
    if (end !== null && name !== 'describe' && name !== 'it') {
      const line =
        text.slice(0, match.index).split('\n').length + (match[0].startsWith('\n') ? 1 : 0);
      spans.push({ name, line, lines: text.slice(match.index, end).split('\n').length });
    }
  }
  return spans;
}

/** Where the first block after the parameters ends; null when there is none. */
function endOfBody(text: string, from: number): number | null {
  let parentheses = 0;
  let braces = 0;
  for (let i = from; i < text.length; i += 1) {
    const letter = text[i];
    if (letter === '(' || letter === '[') {
      parentheses += 1;
    } else if (letter === ')' || letter === ']') {
      parentheses -= 1;
    } else if (letter === ';' && parentheses === 0 && braces === 0) {
      return null;
    } else if (letter === '{' && parentheses === 0) {
      braces += 1;
    } else if (letter === '}' && parentheses === 0) {
      braces -= 1;
      if (braces === 0) {
        return i + 1;
      }
    }
  }
  return null;
}
