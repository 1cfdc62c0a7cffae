import { basename, dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  functionsOf,
  listFiles,
  longestText,
  readProjectFile,
  withoutText,
} from './support/source.ts';

const fileLinesMax = 500;
const functionLinesMax = 70;
const lineLengthMax = 100;
const readmeLinesMax = 149;
/** A text in quotes of this length may stand on a line that is too long. */
const unbreakableText = 40;

/** What each part of `src` may import, besides itself. */
const mayImport: Record<string, readonly string[]> = {
  domain: [],
  native: [],
  config: ['domain'],
  observe: ['config', 'domain', 'native'],
  cluster: ['domain', 'native'],
  sip: ['domain', 'native'],
  'call-manager': ['cluster', 'domain', 'native', 'sip'],
  media: ['cluster', 'domain', 'native', 'sip'],
  portal: ['call-manager', 'config', 'domain', 'native', 'observe'],
  lab: ['config', 'domain', 'native', 'observe', 'portal'],
};
/** Parts that put the others together. */
const composers = new Set(['cli', 'main.ts']);

const typeScript = listFiles(['src', 'scripts', 'test'], ['.ts']);
const rust = listFiles(['crates'], ['.rs']);
const scripts = listFiles(['scripts'], ['.sh', '.awk', '.py']);
const code = [...typeScript, ...rust, ...scripts];
const documents = [
  ...listFiles(['docs'], ['.md']),
  ...listFiles(['.'], ['.md']).filter((file) => !file.includes('/')),
];
/** This test has to name what it forbids. */
const self = 'test/tidy.test.ts';

/** Every line of some files that a pattern matches, as `file:line: text`. */
function hits(files: readonly string[], pattern: RegExp, strip = false): string[] {
  return files
    .filter((file) => file !== self)
    .flatMap((file) => {
      const source = readProjectFile(file);
      const lines = (strip ? withoutText(source, file) : source).split('\n');
      return lines.flatMap((line, i) => (pattern.test(line) ? [`${file}:${i + 1}: ${line}`] : []));
    });
}

describe('sizes', () => {
  it(`no file of code is longer than ${fileLinesMax} lines`, () => {
    const long = code
      .map((file) => ({ file, lines: readProjectFile(file).split('\n').length - 1 }))
      .filter(({ lines }) => lines > fileLinesMax);
    expect(long).toEqual([]);
  });

  it(`no function is longer than ${functionLinesMax} lines`, () => {
    const long = [...typeScript, ...rust].flatMap((file) =>
      functionsOf(readProjectFile(file), file)
        .filter(({ lines }) => lines > functionLinesMax)
        .map(({ name, line, lines }) => `${file}:${line} ${name}: ${lines} lines`),
    );
    expect(long).toEqual([]);
  });

  it(`no line of code is longer than ${lineLengthMax} characters, long texts aside`, () => {
    const long = code.flatMap((file) => {
      const source = readProjectFile(file);
      const bare = withoutText(source, file).split('\n');
      const isInsideText = (line: string, i: number) =>
        bare[i]?.trim() === '' && !/^\s*(\/\/|\/\*|\*)/.test(line);
      return source
        .split('\n')
        .map((line, i) => ({ line, place: `${file}:${i + 1}`, free: isInsideText(line, i) }))
        .filter(({ line, free }) => [...line].length > lineLengthMax && !free)
        .filter(({ line }) => longestText(line, file) < unbreakableText)
        .map(({ place }) => place);
    });
    expect(long).toEqual([]);
  });

  it('the README is shorter than 150 lines', () => {
    const readme = documents.filter((file) => file === 'README.md').map(readProjectFile);
    expect(readme.every((text) => text.split('\n').length <= readmeLinesMax)).toBe(true);
  });
});

describe('dependencies', () => {
  const sources = listFiles(['src'], ['.ts']);
  const partOf = (file: string) => file.split('/')[1] ?? '';

  it('point one way: domain, cluster and sip, roles, portal, cli', () => {
    const wrong = sources
      .filter((file) => !composers.has(partOf(file)))
      .flatMap((file) => {
        const part = partOf(file);
        const imports = readProjectFile(file).matchAll(/from '(\.[^']+)'/g);
        return [...imports]
          .map((match) => partOf(normalize(join(dirname(file), match[1] ?? ''))))
          .filter((other) => other !== part && !mayImport[part]?.includes(other))
          .map((other) => `${file} imports ${other}`);
      });
    expect(wrong).toEqual([]);
  });

  it('only src/native loads the addon', () => {
    const loaders = sources.filter((file) =>
      /createRequire|\.node['"]/.test(readProjectFile(file)),
    );
    expect(loaders.filter((file) => !file.startsWith('src/native/'))).toEqual([]);
  });

  it('no crate enables the promises that the store can break on purpose', () => {
    const manifests = [...listFiles(['crates'], ['.toml']), 'Cargo.toml'];
    const named = hits(manifests, /^[^#]*\bmutations\b/).map((hit) => hit.replace(/:\d+/, ''));
    expect(named).toEqual(['crates/store/Cargo.toml: mutations = []']);
  });

  it('only crates/bridge exports to Node', () => {
    const others = rust.filter((file) => !file.startsWith('crates/bridge/'));
    expect(hits(others, /#\[napi|napi_derive/)).toEqual([]);
  });
});

describe('names', () => {
  it('files are kebab-case in TypeScript and snake_case in Rust', () => {
    const name = (file: string) =>
      basename(file).replace(/(\.property)?(\.test|\.d)?\.[a-z]+$/, '');
    expect(typeScript.filter((file) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name(file)))).toEqual([]);
    expect(rust.filter((file) => !/^[a-z0-9]+(_[a-z0-9]+)*$/.test(name(file)))).toEqual([]);
  });

  it('no file or directory is called what says nothing', () => {
    const empty = /(^|[/_-])(utils?|helpers?|common|misc|manager|data)([/._-]|$)/;
    const unclear = code.filter((file) => empty.test(file.replaceAll('call-manager', '')));
    expect(unclear).toEqual([]);
  });

  it('a thing has the name the glossary gives it', () => {
    const synonym = /\b(subscriber|endpoint)s?\b/i;
    expect(hits([...listFiles(['src'], ['.ts']), ...documents], synonym)).toEqual([]);
  });
});

describe('words', () => {
  it('nothing is unfinished', () => {
    expect(hits(code, /\b(TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
    expect(hits(rust, /\b(todo|unimplemented|dbg)!\s*\(/, true)).toEqual([]);
  });

  it('no test is left out and none is alone', () => {
    expect(hits(typeScript, /\.(skip|only|todo)\s*\(/, true)).toEqual([]);
    expect(hits(rust, /#\[ignore/)).toEqual([]);
  });

  it('no error is swallowed without a word', () => {
    expect(hits(typeScript, /catch\s*(\([^)]*\))?\s*\{\s*\}/, true)).toEqual([]);
  });

  it('no place of one machine is mentioned', () => {
    const places = /(^|[\s"'`(=])\/(work|tmp|home|root)\//;
    expect(hits([...documents, ...code], places)).toEqual([]);
  });
});
