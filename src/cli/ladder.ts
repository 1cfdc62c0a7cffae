/**
 * A call as a ladder: one column for us, one for each peer, one line a message. Pure.
 *
 * ```text
 *            1001                 pbx                  1002
 *   +0.000   |--INVITE 1 sdp----->|                    |
 *   +0.002   |<-100 Trying 1------|                    |
 * ```
 */
import type { TraceMessage } from '../portal/api/shapes.ts';

/** Letters of a line. */
export const ladderWidth = 100;
const timeWidth = 10;
/** Between two columns: wide enough for `200 OK 1 INVITE sdp`, not wider than is pleasant. */
const gapMax = 34;
/** Peers with a column of their own; the others share the last one. */
const peersMax = 5;

/** What a line says of a message. */
export interface Step {
  message: TraceMessage;
  /** `INVITE`, `180 Ringing`. */
  title: string;
  /** The number of the CSeq, with the method for a response. */
  cseq: string;
  hasSdp: boolean;
  /** The same bytes went the same way before. */
  again: boolean;
}

/** Messages in the order of time, with what is worth knowing of each. */
export function stepsOf(messages: readonly TraceMessage[]): Step[] {
  const seen = new Set<string>();
  return messages.map((message) => {
    const { sent, remote, text } = message;
    const key = `${sent} ${remote} ${text}`;
    const again = seen.has(key);
    seen.add(key);
    const first = text.slice(0, text.indexOf('\r\n'));
    const isResponse = first.startsWith('SIP/2.0 ');
    const [number = '', method = ''] = header(text, 'CSeq').split(/\s+/);
    return {
      message,
      title: isResponse ? first.slice('SIP/2.0 '.length) : (first.split(' ')[0] ?? ''),
      cseq: isResponse ? `${number} ${method}` : number,
      hasSdp: /^(content-type|c)\s*:\s*application\/sdp/im.test(headOf(text)),
      again,
    };
  });
}

/** The ladder; an empty text without messages. */
export function formatLadder(messages: readonly TraceMessage[]): string {
  const steps = stepsOf(messages);
  const first = messages[0];
  if (first === undefined) {
    return '';
  }
  const columns = columnsOf(messages);
  const count = columns.titles.length;
  const gap = Math.min(gapMax, Math.floor((ladderWidth - timeWidth - 12) / (count - 1)));
  const lines = steps.map((step) => {
    const { message } = step;
    const seconds = (message.atUs - first.atUs) / 1_000_000;
    const time = `+${seconds.toFixed(3)}`.padStart(timeWidth - 2).padEnd(timeWidth);
    const peer = columns.of.get(message.remote) ?? count - 1;
    const [from, to] = message.sent ? [columns.own, peer] : [peer, columns.own];
    return `${time}${arrow({ from, to, count, gap }, labelOf(step))}`.trimEnd();
  });
  return [headingOf(columns.titles, gap), ...lines].map(withoutControls).join('\n');
}

interface Columns {
  /** What stands above each. */
  titles: string[];
  /** Which one is ours. */
  own: number;
  /** By the address of the peer. */
  of: Map<string, number>;
}

/** The first peer stands left of us, the others right: calls go from left to right. */
function columnsOf(messages: readonly TraceMessage[]): Columns {
  const remotes = [...new Set(messages.map((message) => message.remote))];
  const own = 1;
  const of = new Map<string, number>();
  const titles: string[] = [];
  remotes.forEach((remote, i) => {
    const column = i === 0 ? 0 : Math.min(i + 1, peersMax);
    of.set(remote, column);
    const isShared = titles[column] !== undefined;
    titles[column] = isShared ? 'others' : userAt(remote, messages);
  });
  titles[own] = 'pbx';
  return { titles, own, of };
}

/** The user of the peer at an address, as the first message with it says; or the address. */
function userAt(remote: string, messages: readonly TraceMessage[]): string {
  const message = messages.find((one) => one.remote === remote);
  if (message === undefined) {
    return remote;
  }
  // Whoever sends a request is its From, whoever gets it its To; a response turns that around.
  const isResponse = message.text.startsWith('SIP/2.0 ');
  const name = message.sent === isResponse ? 'From' : 'To';
  const user = /sips?:([^@:;>]+)[^@;>]*@/i.exec(header(message.text, name))?.[1];
  return user ?? remote;
}

/** Strangers choose names and reasons: a terminal must not take them for commands. */
function withoutControls(line: string): string {
  return line.replace(/\p{Cc}/gu, '?');
}

function labelOf(step: Step): string {
  const marks = [step.hasSdp ? ' sdp' : '', step.again ? ' again' : ''].join('');
  return `${step.title} ${step.cseq}${marks}`;
}

function headingOf(titles: readonly string[], gap: number): string {
  const cells = titles.map((title, i) => {
    const room = i === titles.length - 1 ? ladderWidth : gap - 1;
    return title.slice(0, room).padEnd(gap);
  });
  return `${' '.repeat(timeWidth)}${cells.join('')}`.slice(0, ladderWidth).trimEnd();
}

/** A line of columns with an arrow between two of them. */
function arrow(
  { from, to, count, gap }: { from: number; to: number; count: number; gap: number },
  label: string,
): string {
  const [left, right] = from < to ? [from, to] : [to, from];
  const room = (right - left) * gap - 1;
  const text = label.length > room - 4 ? `${label.slice(0, room - 5)}~` : label;
  const body = from < to ? `--${text}`.padEnd(room - 1, '-') : `<-${text}`.padEnd(room, '-');
  const shaft = from < to ? `${body}>` : body;
  const rail = `|${' '.repeat(gap - 1)}`;
  return `${rail.repeat(left)}|${shaft}${rail.repeat(count - right)}`;
}

/** Everything before the body. */
function headOf(text: string): string {
  const end = text.indexOf('\r\n\r\n');
  return end < 0 ? text : text.slice(0, end);
}

const shortForms: Record<string, string> = { From: 'f', To: 't' };

/** The first value of a header; empty when there is none. */
function header(text: string, name: string): string {
  const short = shortForms[name];
  const names = short === undefined ? name : `${name}|${short}`;
  return new RegExp(`^(?:${names})[ \\t]*:[ \\t]*(.*?)\\r?$`, 'im').exec(headOf(text))?.[1] ?? '';
}
