import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../../../src/config/load.ts';
import { configOf } from '../../../src/lab/materials.ts';
import { planLab } from '../../../src/lab/plan.ts';

describe('the plan of a lab', () => {
  const plan = planLab('.lab');

  it('has the names and addresses everything else relies on', () => {
    expect(plan.servers.map(({ name, address, namespace }) => [name, address, namespace])).toEqual([
      ['cm-1', '10.77.0.11', 'rpbx-cm-1'],
      ['cm-2', '10.77.0.12', 'rpbx-cm-2'],
      ['cm-3', '10.77.0.13', 'rpbx-cm-3'],
      ['media-1', '10.77.0.21', 'rpbx-media-1'],
      ['media-2', '10.77.0.22', 'rpbx-media-2'],
    ]);
    expect(plan.vip).toEqual(['10.77.0.100', 'fd77::100']);
    expect(plan.servers.flatMap(({ floating }) => floating)).toEqual([
      ...['10.77.0.31', 'fd77::31'],
      ...['10.77.0.32', 'fd77::32'],
    ]);
    expect([plan.switchNamespace, plan.phonesNamespace]).toEqual(['rpbx-sw', 'rpbx-phones']);
    expect([plan.phones[0], plan.phones.at(-1)]).toEqual(['10.77.0.200', '10.77.0.250']);
  });

  it('can stand beside another one', () => {
    expect(planLab('other', 'pbxtest').servers[0]?.namespace).toBe('pbxtest-cm-1');
  });

  it('gives every server a configuration that its own checks accept', () => {
    const account = (user: string) => ({ user, password: 'unused' });
    const credentials = {
      store: account('node'),
      operator: account('operator'),
      metrics: account('metrics'),
    };
    for (const server of plan.servers) {
      const text = stringify(configOf(plan, server, credentials));
      const config = parseConfig(text, 'config.yaml');
      expect(config.name).toBe(server.name);
      expect(config.cluster.peers).toHaveLength(3);
      expect(text).not.toContain('unused');
    }
  });
});
