/** `raftpbx call trace`: what was said on the network about one call. */
import { writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { TraceEntry } from '../portal/api/shapes.ts';
import { CliError } from './failure.ts';
import { formatLadder } from './ladder.ts';
import { formatJson, print } from './output.ts';
import { formatPcap } from './pcap.ts';
import { addTargetOptions, ask, findTarget, type TargetOptions } from './target.ts';

interface TraceOptions extends TargetOptions {
  output?: string;
  pcap?: string;
}

export function addCall(program: Command): void {
  const call = program.command('call').description('look at one call');
  addTargetOptions(call.command('trace'))
    .description('show the SIP messages of a call, as all Call Managers saw them')
    .argument('<id>', "a call of 'raftpbx get calls -o wide', or a SIP Call-ID")
    .addOption(new Option('-o, --output <format>', 'format').choices(['ladder', 'json']))
    .option('--pcap <file>', 'write a packet capture, for Wireshark')
    .action(async (id: string, options: TraceOptions) => {
      const path = `/api/v1/traces?${new URLSearchParams({ id })}`;
      const trace = await ask<TraceEntry>(findTarget(options), 'GET', path);
      if (options.pcap !== undefined) {
        writeCapture(options.pcap, trace);
      }
      if (options.output === 'json') {
        print(formatJson(trace));
      } else if (options.pcap === undefined || options.output === 'ladder') {
        print([formatLadder(trace.messages), ...notesOn(trace)].join('\n'));
      } else {
        print(
          [`${options.pcap} has ${trace.messages.length} messages`, ...notesOn(trace)].join('\n'),
        );
      }
    });
}

/** What is missing, and why. */
export function notesOn({ servers, skipped }: TraceEntry): string[] {
  const silent = servers.flatMap(({ name, problem }) =>
    problem === null ? [] : [`${name} is missing: ${problem}`],
  );
  return skipped === 0 ? silent : [...silent, `${skipped} more messages were not kept`];
}

function writeCapture(file: string, { messages }: TraceEntry): void {
  try {
    // Telephone numbers and addresses are nobody else's business.
    writeFileSync(file, formatPcap(messages), { mode: 0o600 });
  } catch (error) {
    const message = `cannot write ${file}: ${(error as Error).message}`;
    throw new CliError('PBX_TRACE_FILE', message, 'give a file in a directory you may write to');
  }
}
