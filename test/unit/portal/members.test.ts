import { describe, expect, it } from 'vitest';
import { formatMembers, idOf, isComplete } from '../../../src/cli/member.ts';
import type { StoreMember } from '../../../src/native/index.ts';
import { describeChange, planMembers } from '../../../src/portal/members.ts';

const ports = { raft: 7001, resp: 6379 };
const wanted = (...ids: [number, string][]) =>
  ids.map(([id, name]) => ({ id, name, address: `10.77.0.${10 + Number(name.slice(3))}` }));

function member(id: number, name = `cm-${id}`, voter = true): StoreMember {
  return {
    id,
    name,
    raft: `10.77.0.1${id}:7001`,
    resp: null,
    voter,
    leader: id === 1,
    reachable: true,
    problem: null,
    matched: 10 - id,
  };
}

const three = [1, 2, 3].map((id) => member(id));
const plan = (...ids: [number, string][]) =>
  planMembers(wanted(...ids), three, ports).map(describeChange);

describe('what a configuration asks for', () => {
  it('is nothing when it names the members', () => {
    expect(plan([1, 'cm-1'], [2, 'cm-2'], [3, 'cm-3'])).toEqual([]);
  });

  it('is a replacement when a server has a new id', () => {
    expect(plan([1, 'cm-1'], [4, 'cm-2'], [3, 'cm-3'])).toEqual(['replace node 2 by node 4']);
  });

  it('adds before it removes', () => {
    expect(plan([1, 'cm-1'], [2, 'cm-2'], [4, 'cm-4'])).toEqual([
      'add node 4 (cm-4) at 10.77.0.14:7001',
      'promote node 4',
      'remove node 3',
    ]);
  });

  it('lets a learner vote', () => {
    const members = [member(1), member(2, 'cm-2', false)];
    const changes = planMembers(wanted([1, 'cm-1'], [2, 'cm-2']), members, ports);
    expect(changes).toEqual([{ type: 'promote', id: 2 }]);
  });
});

describe('the screen of the members', () => {
  const problem = 'it has lost its directory';
  const lost = { ...member(2), reachable: false, problem };

  it('says who leads, who is behind and who is lost', () => {
    const items = [member(1), lost, member(3, '', false)];
    const alarms = [{ code: 'PBX_STORE_WIPED', text: 'lost', fix: 'rejoin' }];
    const changes = [{ type: 'promote' as const, id: 3 }];
    expect(formatMembers({ items, alarms, changes }).split('\n')).toEqual([
      'ID   SERVER   ADDRESS           ROLE      BEHIND   STATE',
      '1    cm-1     10.77.0.11:7001   leader    0        up',
      '2    cm-2     10.77.0.12:7001   voter     1        it has lost its directory',
      '3    -        10.77.0.13:7001   learner   2        up',
      'alarm PBX_STORE_WIPED: lost',
      '  fix: rejoin',
      'the configuration asks to promote node 3',
    ]);
    expect(isComplete({ items, alarms, changes })).toBe(false);
    expect(isComplete({ items: three, alarms: [], changes: [] })).toBe(true);
  });

  it('takes ids only', () => {
    expect(idOf('12')).toBe(12);
    for (const text of ['0', '-1', '1.5', 'cm-1', '']) {
      expect(() => idOf(text)).toThrow(/not the id of a node/);
    }
  });
});
