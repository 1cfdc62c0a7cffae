import { expect, it } from 'vitest';
import { functionsOf, longestText, withoutText } from '../support/source.ts';

it('functions of TypeScript are found with their lengths', () => {
  const source = [
    'export async function first(a: { b: string }): Promise<void> {',
    "  const text = '}}}'; // }",
    '}',
    'class Thing {',
    '  #second<T>(value: T): T {',
    '    if (value) {',
    '      return value;',
    '    }',
    '    return value;',
    '  }',
    '}',
    'const third = (a: number) => {',
    '  return /[{]/.test(String(a));',
    '};',
  ].join('\n');
  expect(functionsOf(source, 'a.ts')).toEqual([
    { name: 'first', line: 1, lines: 3 },
    { name: '#second', line: 5, lines: 6 },
    { name: 'third', line: 12, lines: 3 },
  ]);
});

it('functions of Rust are found, lifetimes and raw strings notwithstanding', () => {
  const source = [
    "fn first<'a>(text: &'a str) -> &'a str {",
    "    let brace = '}';",
    '    let raw = r#"}} " }"#;',
    '    text',
    '}',
    'trait Door {',
    '    fn second(&self) -> [u8; 4];',
    '}',
  ].join('\n');
  expect(functionsOf(source, 'a.rs')).toEqual([{ name: 'first', line: 1, lines: 5 }]);
});

it('texts are emptied without moving a line', () => {
  expect(withoutText('a("x\ny") // z', 'a.ts').split('\n')).toHaveLength(2);
  expect(longestText("run('abc', `defgh`) // a long remark", 'a.ts')).toBe(7);
});
