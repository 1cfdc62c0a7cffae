/** `raftpbx sip`: the SIP engine alone, in place of a drachtio-server. */
import type { Command } from 'commander';
import { addBans } from './bans.ts';
import { CliError } from './failure.ts';
import { requireAddress, runAlone, splitList } from './stand-alone.ts';

/** One address, often the proxy in front, may begin so many connections. */
const connectionsPerAddress = 1024;
const transports = ['udp', 'tcp', 'tls', 'ws', 'wss'];

interface SipCommandOptions {
  listen: string;
  drachtio: string;
  drachtioTls?: string;
  secret: string;
  certificate?: string;
  key?: string;
}

export function addSip(program: Command): void {
  const sip = program
    .command('sip')
    .description('run the SIP engine alone, in place of a drachtio-server')
    // Not required ones: those would be asked for by the commands below, too.
    .option('--listen <list>', 'udp/ADDRESS:PORT,tls/ADDRESS:PORT,...; udp, tcp, tls, ws, wss')
    .option('--drachtio <address>', 'ADDRESS:PORT where applications connect')
    .option('--drachtio-tls <address>', 'ADDRESS:PORT where they connect over TLS')
    .option('--secret <secret>', 'what they authenticate with')
    .option('--certificate <file>', 'chain of everything over TLS, PEM')
    .option('--key <file>', 'its private key')
    .action((given: Partial<SipCommandOptions>) => {
      const options = requireAll(given);
      const listen = splitList('--listen', options.listen).map(requireListener);
      const drachtio = requireAddress('--drachtio', options.drachtio);
      const secure =
        options.drachtioTls === undefined
          ? null
          : requireAddress('--drachtio-tls', options.drachtioTls);
      const tls = tlsOf(options);
      return runAlone('sip', async () => {
        const { SipEngine } = await import('../native/index.ts');
        const engine = SipEngine.start(
          {
            listen,
            nameServers: [],
            connectionsPerAddress,
            tls,
            drachtio: { listen: drachtio, secure, secret: options.secret },
            registrar: null,
            authenticateCalls: false,
            trusted: [],
            sessionTimer: { expiresS: 0, minSeS: 90 },
            secret: options.secret,
          },
          null,
          () => undefined,
        );
        const ready = `sip ${engine.addresses().join(',')} drachtio ${drachtio}`;
        return { ready, stop: () => engine.close() };
      });
    });
  addBans(sip);
}

function requireAll(given: Partial<SipCommandOptions>): SipCommandOptions {
  const { listen, drachtio, secret } = given;
  if (listen === undefined || drachtio === undefined || secret === undefined) {
    const missing = (['listen', 'drachtio', 'secret'] as const).find((one) => !given[one]);
    const message = `--${missing} is missing`;
    throw new CliError('PBX_CLI_USE', message, "see 'raftpbx sip --help'");
  }
  return { ...given, listen, drachtio, secret };
}

/** Both files or none. */
function tlsOf({ certificate, key }: SipCommandOptions) {
  if (certificate === undefined && key === undefined) {
    return null;
  }
  if (certificate === undefined || key === undefined) {
    const message = '--certificate and --key belong together';
    throw new CliError('PBX_CLI_USE', message, 'give both or none');
  }
  return { certificate, key, authority: null };
}

function requireListener(text: string): string {
  const slash = text.indexOf('/');
  const transport = text.slice(0, slash);
  if (!transports.includes(transport)) {
    const message = `--listen '${text}' has no transport`;
    throw new CliError('PBX_CLI_USE', message, 'for example udp/127.0.0.1:5060');
  }
  requireAddress('--listen', text.slice(slash + 1));
  return text;
}
