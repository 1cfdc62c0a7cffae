/** `raftpbx media`: a media server alone, in place of an rtpengine. */
import { availableParallelism } from 'node:os';
import { type Command, Option } from 'commander';
import { CliError } from './failure.ts';
import { requireAddress, runAlone, splitList } from './stand-alone.ts';

interface MediaCommandOptions {
  interface: string;
  ng: string;
  ports: string;
  path: (typeof paths)[number];
  prompts?: string;
}

/** Silence after which a session is given up, as rtpengine's default. */
const timeoutS = 60;

/**
 * How packets are moved; `auto` lets the kernel move those of established flows, where it can. With
 * the others threads move all of them.
 */
const paths = ['auto', 'epoll', 'io_uring', 'sk_lookup'] as const;

export function addMedia(program: Command): void {
  program
    .command('media')
    .description('run a media server alone, in place of an rtpengine')
    .requiredOption('--interface <list>', 'ADDRESS[,ADDRESS6] for RTP')
    .requiredOption('--ng <address>', 'ADDRESS:PORT of the NG protocol, UDP')
    .requiredOption('--ports <range>', 'FROM-TO, UDP ports for RTP')
    .option('--prompts <folder>', 'where `play media` finds files; without it none is played')
    .addOption(new Option('--path <path>', 'how packets are moved').choices(paths).default('auto'))
    .action((options: MediaCommandOptions) => {
      const interfaces = splitList('--interface', options.interface);
      const ng = requireAddress('--ng', options.ng);
      const { from, to } = requireRange(options.ports);
      return runAlone('media', async () => {
        const { MediaEngine } = await import('../native/index.ts');
        const engine = MediaEngine.start(
          {
            interfaces: interfaces.map((local) => ({ local, advertised: null })),
            portFrom: from,
            portTo: to,
            floating: null,
            workers: availableParallelism(),
            ngListen: ng,
            ngTcpListen: null,
            mediaTimeoutS: timeoutS,
            recordings: null,
            prompts: options.prompts ?? null,
            fastPath: options.path === 'auto',
            packetIo: options.path,
            recordingFormat: 'wav',
            codecs: [],
            forwardTo: null,
            forwardRateHz: 8_000,
          },
          () => undefined,
        );
        const rtp = `${interfaces.join(',')} ${from}-${to}`;
        const ready = `media ng ${engine.ngAddress() ?? ng} rtp ${rtp}`;
        return { ready, stop: () => engine.close() };
      });
    });
}

function requireRange(text: string): { from: number; to: number } {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const range = { from: Number(match?.[1]), to: Number(match?.[2]) };
  if (match === null || range.from < 1 || range.to > 65_535 || range.to - range.from < 3) {
    const message = `--ports '${text}' is not FROM-TO with at least four ports`;
    throw new CliError('PBX_CLI_USE', message, 'for example 20000-59999');
  }
  return range;
}
