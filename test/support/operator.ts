/** What an operator does by hand in the lab: edits configurations, issues certificates. */
import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import { raftpbx, testLab } from './lab.ts';

/** The parts of a configuration that tests change. */
export interface EditedConfig {
  cluster: { id: number; peers: { id: number; name: string; address: string }[] };
  log?: { level: string };
  sip: {
    domain: string;
    topologyHiding?: { enabled: boolean; callIds: boolean };
    applications?: { requestHandlers: { method: string; url: string }[] };
  };
}

/** Changes the configuration file of a server. */
export function editConfig(server: string, edit: (config: EditedConfig) => void): void {
  const file = `${testLab.directory}/${server}/config.yaml`;
  const config = parse(readFileSync(file, 'utf8')) as EditedConfig;
  edit(config);
  writeFileSync(file, stringify(config));
}

/** Issues a certificate into the `tls` directory of a server; rejects when that is refused. */
export async function issueCertificateFor(
  server: { name: string; address: string },
  id: number,
  authority = 'ca',
): Promise<void> {
  const { directory } = testLab;
  const { status, stderr } = await raftpbx(
    'certificate',
    'issue',
    ...['--authority', `${directory}/${authority}.pem`],
    ...['--authority-key', `${directory}/${authority}.key`],
    ...['--id', String(id), '--name', server.name],
    ...['--address', server.address, '10.77.0.100', 'fd77::100', '127.0.0.1'],
    ...['--dir', `${directory}/${server.name}/tls`],
  );
  if (status !== 0) {
    throw new Error(stderr);
  }
}

/** Lines of a server's log that say this. */
export function logged(server: string, text: string): number {
  const lines = readFileSync(`${testLab.directory}/${server}/log.jsonl`, 'utf8').split('\n');
  return lines.filter((line) => line.includes(text)).length;
}
