import { afterEach, expect, it } from 'vitest';
import {
  existingNamespaces,
  inNamespace,
  makeNetwork,
  processesIn,
  removeNetwork,
} from '../../../src/lab/network.ts';
import { labMediaPorts, planLab } from '../../../src/lab/plan.ts';
import { run } from '../../../src/lab/shell.ts';

const prefix = 'pbxunit';
const plan = planLab('.lab', prefix, { callManagers: 1, mediaServers: 1 });

afterEach(() => {
  removeNetwork(prefix);
});

it('namespaces reach one another at once, keep when made again, and leave nothing', () => {
  makeNetwork(plan);
  makeNetwork(plan);
  expect(existingNamespaces(prefix).sort()).toEqual([
    'pbxunit-cm-1',
    'pbxunit-media-1',
    'pbxunit-phones',
    'pbxunit-sw',
  ]);
  const ping = (address: string) =>
    run(inNamespace(plan.phonesNamespace, ['ping', '-c', '1', '-W', '1', address]));
  expect(ping('10.77.0.11')).toContain('1 received');
  expect(ping('fd77::21')).toContain('1 received');
  const reserved = (namespace: string) =>
    run(inNamespace(namespace, ['sysctl', '-n', 'net.ipv4.ip_local_reserved_ports'])).trim();
  expect(reserved('pbxunit-media-1')).toBe(labMediaPorts);
  expect(reserved('pbxunit-cm-1')).toBe('');
  expect(processesIn(plan.phonesNamespace)).toEqual([]);
  expect(removeNetwork(prefix)).toHaveLength(4);
  expect(existingNamespaces(prefix)).toEqual([]);
});
