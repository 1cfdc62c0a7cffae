/**
 * Codecs as call control sees them. The media server changes between those that it knows, and an
 * offer may name them beside those of the party whose offer it is; what is decided here is who is
 * offered them. Pure.
 *
 * To change between codecs costs a thread work for each packet, and a call that needs none can be
 * relayed by the kernel. So a phone is offered what the other party has, and more only when it
 * refuses that: with both before it, it might choose what only we have. A browser is offered all
 * at once. It rarely refuses: it takes the call and turns the line off (RFC 3264 section 6).
 */
import { insisting, isBehindTls, isBehindWebSocket, offerFor } from './encryption.ts';

/** What payload types mean without `a=rtpmap` (RFC 3551 section 6). */
const staticCodecs = new Map([
  ['0', 'pcmu/8000'],
  ['3', 'gsm/8000'],
  ['4', 'g723/8000'],
  ['8', 'pcma/8000'],
  ['9', 'g722/8000'],
  ['15', 'g728/8000'],
  ['18', 'g729/8000'],
]);

/** Formats that go along with sound and are none of their own. */
const supplements = /^(?:telephone-event|cn|red|ulpfec)\//;

/** The session part, and one part for each media line. */
function partsOf(sdp: string): string[] {
  return sdp.split(/^(?=m=)/m);
}

/** The formats of a media line, as they stand there (RFC 8866 section 5.14). */
function formatsOf(part: string): string[] {
  const [line = ''] = part.split(/\r?\n/, 1);
  return line.split(' ').slice(3);
}

/** Name and clock of the codecs of the lines with sound, in lower case. */
export function codecsOf(sdp: string): Set<string> {
  const codecs = new Set<string>();
  for (const part of partsOf(sdp).filter((one) => /^m=audio [1-9]/.test(one))) {
    const maps = part.matchAll(/^a=rtpmap:(\d+) ([^/\s]+\/\d+)/gm);
    const named = new Map([...maps].map(([, format = '', name = '']) => [format, name]));
    for (const format of formatsOf(part)) {
      const codec = named.get(format) ?? staticCodecs.get(format);
      if (codec !== undefined && !supplements.test(codec.toLowerCase())) {
        codecs.add(codec.toLowerCase());
      }
    }
  }
  return codecs;
}

/** Whether two parties can talk without a change between codecs, as far as they have said. */
export function haveCommonCodec(one: string, other: string): boolean {
  const [here, there] = [codecsOf(one), codecsOf(other)];
  return here.size === 0 || there.size === 0 || [...here].some((codec) => there.has(codec));
}

/** An offer without the formats that the party whose offer it was has not named itself. */
export function withoutAdded(offer: string, original: string): string {
  const originals = partsOf(original);
  return partsOf(offer)
    .map((part, i) => narrowed(part, originals[i] ?? ''))
    .join('');
}

function narrowed(part: string, original: string): string {
  const own = new Set(formatsOf(original));
  const formats = formatsOf(part);
  const added = formats.filter((format) => !own.has(format));
  if (!part.startsWith('m=audio ') || added.length === 0 || added.length === formats.length) {
    return part;
  }
  const lines = new RegExp(`^a=(?:rtpmap|fmtp|rtcp-fb):(?:${added.join('|')}) .*\\r?\\n`, 'gm');
  const kept = formats.filter((format) => own.has(format)).join(' ');
  return part.replace(/^(m=\S+ \S+ \S+) .*/, `$1 ${kept}`).replace(lines, '');
}

/**
 * What a device is offered: each offer for who refuses the one before. `caller` is what the party
 * said that the offer was made of.
 */
export function offersFor(uri: string, offer: string, caller: string): [string, ...string[]] {
  const all = offerFor(uri, offer);
  const first = isBehindWebSocket(uri) ? all : withoutAdded(all, caller);
  const alone = (sdp: string) => (isBehindTls(uri) ? insisting(sdp) : null);
  const further = [alone(first), all, alone(all)].filter((sdp) => sdp !== null && sdp !== first);
  return [first, ...new Set(further as string[])];
}
