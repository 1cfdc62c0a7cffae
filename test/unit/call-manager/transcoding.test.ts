/** Who is offered codecs that the other party does not have, in calls of a scripted engine. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type CallManagerHandle, startCallManager } from '../../../src/call-manager/index.ts';
import { silentLog } from '../../../src/domain/log.ts';
import type { SipEngine } from '../../../src/native/index.ts';
import { SipEventFeed } from '../../../src/sip/event-feed.ts';
import { FakeMedia, MemoryStore } from './fakes.ts';
import { ScriptedEngine } from './scripted-engine.ts';

const said = (formats: string, ...lines: string[]) =>
  ['v=0', 'c=IN IP4 192.0.2.77', `m=audio 4000 RTP/AVP ${formats}`, ...lines, ''].join('\r\n');
const pcmu = said('0');
const opus = said('96', 'a=rtpmap:96 opus/48000/2');

let store: MemoryStore;
let media: FakeMedia;
let engine: ScriptedEngine;
let manager: CallManagerHandle | null;

beforeEach(() => {
  store = new MemoryStore();
  media = new FakeMedia();
  engine = new ScriptedEngine();
  manager = null;
  store.query("INSERT INTO users VALUES ('1001', 'Ada', '', '', 0), ('1002', 'Bo', '', '', 0)");
});

afterEach(async () => {
  await manager?.stop();
  await engine.close();
  media.close();
});

/** Call control that may have `transcode`; 1002 is at `contact`. */
async function start(contact: string, transcode: string[]): Promise<void> {
  const bindings = [{ contact, expiresAt: Date.now() + 60_000, q: 1 }];
  store.keys.set('registration:1002', JSON.stringify({ user: '1002', bindings }));
  manager = await startCallManager({
    ...{ name: 'cm-1', log: silentLog, domain: 'pbx.test', address: '127.0.0.1' },
    ...{ roles: ['call-manager'], version: '0', peers: [{ id: 1, name: 'cm-1' }] },
    ...{ vip: ['192.0.2.10'], store: store.store, engine: {} as SipEngine },
    sipEvents: new SipEventFeed(),
    drachtio: { host: '127.0.0.1', port: await engine.listen(), secret: 's' },
    clusterSecret: 'cluster',
    transcode,
  });
  const ng = await media.listen();
  const lease = { name: 'media-1', roles: ['media'], address: '', ng, load: 0, capacity: 9 };
  store.set('server:media-1', JSON.stringify(lease));
  store.lead(1);
}

const formatsOf = (sdp: string) => /^m=audio \d+ \S+ (.*)$/m.exec(sdp)?.[1];

test.each([488, 606])(
  'a phone that refuses with %i is offered what we can make',
  async (status) => {
    await start('sip:1002@192.0.2.81', ['opus']);
    engine.invite({ id: 't1', user: '1001', to: '1002', sdp: pcmu });
    const first = await engine.next('INVITE');
    expect(first.body).toBe(`${pcmu}a=relayed\r\n`);
    engine.respond(first, status);
    const second = await engine.next('INVITE');
    expect(formatsOf(second.body)).toBe('0 96');
    expect(second.body).toContain('a=rtpmap:96 opus/48000/2\r\n');
    engine.respond(second, 200, opus);
    expect((await engine.next('200')).body).toBe(`${opus}a=relayed\r\n`);

    // Holds pass between the two as well.
    engine.inDialog('cid-t1;from-tag=at1', 'INVITE', pcmu);
    const held = await engine.next('INVITE', (sent) => sent.dialogId === second.dialogId);
    expect(formatsOf(held.body)).toBe('0 96');
  },
);

test('a phone that refuses that too is not asked again', async () => {
  await start('sip:1002@192.0.2.81', ['opus']);
  engine.invite({ id: 't1', user: '1001', to: '1002', sdp: pcmu });
  engine.respond(await engine.next('INVITE'), 488);
  engine.respond(await engine.next('INVITE'), 488);
  await engine.next('488');
  expect(engine.sent.filter(({ what }) => what === 'INVITE')).toEqual([]);
});

test('a phone with a common codec is never offered more', async () => {
  await start('sip:1002@192.0.2.81', ['opus']);
  engine.invite({ id: 't1', user: '1001', to: '1002', sdp: pcmu });
  const first = await engine.next('INVITE');
  engine.respond(first, 200, pcmu);
  await engine.next('200');
  engine.inDialog('cid-t1;from-tag=at1', 'INVITE', pcmu);
  const held = await engine.next('INVITE', (sent) => sent.dialogId === first.dialogId);
  expect(held.body).toBe(`${pcmu}a=relayed\r\n`);
});

test('a browser is offered everything at once', async () => {
  await start('sip:1002@x.invalid;transport=ws', ['opus']);
  engine.invite({ id: 't1', user: '1001', to: '1002', sdp: pcmu });
  expect(formatsOf((await engine.next('INVITE')).body)).toBe('0 96');
});

test('nothing is offered that the configuration does not name', async () => {
  await start('sip:1002@192.0.2.81', []);
  engine.invite({ id: 't1', user: '1001', to: '1002', sdp: pcmu });
  engine.respond(await engine.next('INVITE'), 488);
  await engine.next('488');
  await vi.waitFor(() => expect(manager?.api.cdrs()).toHaveLength(1));
});
