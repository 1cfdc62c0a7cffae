/** The promise, shown: two phones talk, the leader is killed, nobody has to dial again. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CdrEntry, Page, RegistrationEntry } from '../portal/api/shapes.ts';
import { clusterUp, killServer, type LabOptions, startServer } from './cluster.ts';
import { LabError } from './failure.ts';
import { Insider } from './insider.ts';
import { Listener, type Phone, startPhone } from './phone.ts';
import { type LabPlan, labFiles } from './plan.ts';
import { LabApi } from './readiness.ts';
import { readCredentials } from './records.ts';
import { type Steps, toldSteps } from './steps.ts';

/** How long the phones talk before and after the fault. */
const talkMs = 3000;
/** Longer silence than this would be heard as a break. */
const silenceMaxMs = 150;
/** A takeover that takes longer has failed. */
const takeoverDeadlineMs = 10_000;

/** Everything the demonstration measures. */
interface Findings {
  killed: string;
  successor: string;
  takeoverMs: number;
  silenceMs: { caller: number; callee: number };
  packets: { caller: number; callee: number };
  dropped: boolean;
  registrations: { before: number; after: number };
  records: number;
}

/** Runs the demonstration; true when the call and everything about it was kept. */
export async function runDemo(
  options: LabOptions,
  write: (text: string) => void,
): Promise<boolean> {
  const steps = toldSteps(8, write);
  const { plan } = await steps.step('the lab is up', () => clusterUp(options));
  const insider = new Insider(plan.phonesNamespace);
  const phones: Phone[] = [];
  try {
    const api = new LabApi(insider, plan);
    const findings = await perform(plan, api, steps, phones);
    write(`\n${formatFindings(findings)}\n`);
    return isKept(findings);
  } finally {
    await Promise.all(phones.map((phone) => phone.stop()));
    await insider.close();
  }
}

async function perform(
  plan: LabPlan,
  api: LabApi,
  steps: Steps,
  phones: Phone[],
): Promise<Findings> {
  const [caller, callee] = await steps.step('two phones register', () => openPhones(plan, phones));
  const recordsBefore = await cdrsOf(api, caller, callee);
  await steps.step(`${caller.name} calls ${callee.name}`, () => caller.dial(callee.name));
  const heard = { caller: listen(caller), callee: listen(callee) };
  await steps.step(`they talk for ${talkMs / 1000} s`, () => delay(talkMs));
  const before = await registrationsOf(api);
  const status = await api.waitForVip();
  const killed = status.leader ?? '';
  heard.caller.reset();
  heard.callee.reset();
  const { successor, takeoverMs } = await steps.step(`${killed} leads and is killed`, async () => {
    const started = performance.now();
    await killServer(killed, 'SIGKILL', { directory: plan.directory });
    return waitForSuccessor(api, killed, started);
  });
  await steps.step(`${successor} leads, they talk on`, () => delay(talkMs));
  const ears = { caller: heard.caller.heard, callee: heard.callee.heard };
  const silenceMs = {
    caller: ears.caller.longestSilenceMs,
    callee: ears.callee.longestSilenceMs,
  };
  const packets = { caller: ears.caller.packets, callee: ears.callee.packets };
  heard.caller.close();
  heard.callee.close();
  const dropped = phones.some((phone) => phone.history.some((one) => one.type === 'CALL_CLOSED'));
  const after = await registrationsOf(api);
  await steps.step('they hang up', async () => {
    if (!dropped) {
      await caller.hangup();
    }
  });
  const records = await waitForRecord(api, caller, callee, recordsBefore);
  await steps.step(`${killed} is started again`, () =>
    startServer(killed, { directory: plan.directory }),
  );
  const registrations = { before, after };
  return { killed, successor, takeoverMs, silenceMs, packets, dropped, registrations, records };
}

async function openPhones(plan: LabPlan, phones: Phone[]): Promise<[Phone, Phone]> {
  const { users } = readCredentials(labFiles(plan.directory).credentials);
  const open = async (index: number): Promise<Phone> => {
    const user = users[index];
    // baresip's RTP leaves from the first address of the interface, whatever it registers with.
    const address = plan.phones[0];
    if (user === undefined || address === undefined) {
      const fix = "make a fresh lab: 'make cluster-down', then 'make cluster-up'";
      throw new LabError('PBX_LAB_USERS', 'the lab has no users', fix);
    }
    const directory = join(plan.directory, 'phones', user.name);
    rmSync(directory, { recursive: true, force: true });
    const phone = await startPhone({
      name: user.name,
      user: user.name,
      password: user.password,
      namespace: plan.phonesNamespace,
      address,
      // It takes the port above as well, for TLS.
      port: 5070 + 2 * index,
      directory,
      toneHz: 440 + 160 * index,
    });
    phones.push(phone);
    await phone.registered();
    return phone;
  };
  return Promise.all([open(0), open(1)]);
}

function listen(phone: Phone): Listener {
  const recording = phone.recordedAudioPath;
  if (recording === null) {
    const fix = 'see its baresip.log beside the recordings';
    throw new LabError('PBX_LAB_PHONE', `phone ${phone.name} hears nothing`, fix);
  }
  return new Listener(recording);
}

async function waitForSuccessor(
  api: LabApi,
  killed: string,
  started: number,
): Promise<{ successor: string; takeoverMs: number }> {
  while (performance.now() - started < takeoverDeadlineMs) {
    const leader = (await api.status())?.leader;
    if (leader !== null && leader !== undefined && leader !== killed) {
      return { successor: leader, takeoverMs: performance.now() - started };
    }
    await delay(10);
  }
  const fix = "see '.lab/cm-*/log.jsonl' of the two that live";
  throw new LabError('PBX_LAB_VIP', `nobody took over from ${killed}`, fix);
}

async function registrationsOf(api: LabApi): Promise<number> {
  const page = await api.ask<Page<RegistrationEntry>>('/api/v1/registrations?limit=1000');
  return page?.items.length ?? 0;
}

async function cdrsOf(api: LabApi, caller: Phone, callee: Phone): Promise<number> {
  const page = await api.ask<Page<CdrEntry>>('/api/v1/cdrs?limit=1000');
  return (page?.items ?? []).filter(
    (cdr) => cdr.from === caller.name && cdr.to === callee.name && cdr.result === 'answered',
  ).length;
}

async function waitForRecord(
  api: LabApi,
  caller: Phone,
  callee: Phone,
  before: number,
): Promise<number> {
  const deadline = performance.now() + 5000;
  for (;;) {
    const records = (await cdrsOf(api, caller, callee)) - before;
    if (records > 0 || performance.now() > deadline) {
      return records;
    }
    await delay(50);
  }
}

function isKept({ silenceMs, packets, dropped, registrations, records }: Findings): boolean {
  return (
    !dropped &&
    Math.min(packets.caller, packets.callee) > 0 &&
    Math.max(silenceMs.caller, silenceMs.callee) <= silenceMaxMs &&
    registrations.before === registrations.after &&
    records === 1
  );
}

function formatFindings(findings: Findings): string {
  const { killed, successor, takeoverMs, silenceMs, packets, dropped } = findings;
  const { registrations, records } = findings;
  const silent = Math.min(packets.caller, packets.callee) === 0;
  const ms = (value: number) => `${Math.round(value)} ms`;
  const rows: [string, string][] = [
    ['killed', `${killed}, the leader (SIGKILL)`],
    ['took over', `${successor}; API and VIP answered after ${ms(takeoverMs)}`],
    [
      'audio',
      silent
        ? 'nothing was heard'
        : `longest gap ${ms(silenceMs.caller)} / ${ms(silenceMs.callee)}, packets come each 20 ms`,
    ],
    ['dialog', dropped ? 'the call was DROPPED' : 'kept on both sides, hung up by the caller'],
    ['registrations', `${registrations.before} before, ${registrations.after} after`],
    ['call record', records === 1 ? 'exactly one, answered' : `${records} records`],
  ];
  const table = rows.map(([name, value]) => `  ${name.padEnd(14)} ${value}`).join('\n');
  return `${table}\n\n  ${isKept(findings) ? 'Nobody had to dial again.' : 'Something was lost.'}`;
}
