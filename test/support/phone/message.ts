/** SIP messages as the test phone reads and writes them, with nothing of the product's. */

export interface SipMessage {
  /** Request line or status line. */
  start: string;
  headers: [name: string, value: string][];
  body: string;
}

const longNames: Record<string, string> = {
  v: 'via',
  f: 'from',
  t: 'to',
  i: 'call-id',
  m: 'contact',
  l: 'content-length',
  c: 'content-type',
};

export function parse(text: string): SipMessage {
  const end = text.indexOf('\r\n\r\n');
  const lines = text.slice(0, end < 0 ? text.length : end).split('\r\n');
  const headers = lines.slice(1).map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
  return { start: lines[0] ?? '', headers, body: end < 0 ? '' : text.slice(end + 4) };
}

export function serialise(message: SipMessage): string {
  const lines = message.headers.map(([name, value]) => `${name}: ${value}`);
  const length = `Content-Length: ${Buffer.byteLength(message.body)}`;
  return `${[message.start, ...lines, length].join('\r\n')}\r\n\r\n${message.body}`;
}

/** Every value of a header, in order. */
export function headersOf(message: SipMessage, name: string): string[] {
  const wanted = name.toLowerCase();
  return message.headers
    .filter(([n]) => (longNames[n.toLowerCase()] ?? n.toLowerCase()) === wanted)
    .map(([, value]) => value);
}

/** The first value of a header, or an empty string. */
export function headerOf(message: SipMessage, name: string): string {
  return headersOf(message, name)[0] ?? '';
}

/** 0 for a request. */
export function statusOf(message: SipMessage): number {
  return message.start.startsWith('SIP/2.0 ') ? Number(message.start.slice(8, 11)) : 0;
}

/** The method of a request, or of the request that a response answers. */
export function methodOf(message: SipMessage): string {
  return statusOf(message) === 0
    ? (message.start.split(' ')[0] ?? '')
    : (headerOf(message, 'cseq').split(/\s+/)[1] ?? '');
}

export function branchOf(message: SipMessage): string {
  return /branch=([^;,\s]+)/.exec(headerOf(message, 'via'))?.[1] ?? '';
}

export function tagOf(value: string): string {
  return /;tag=([^;>\s]+)/.exec(value)?.[1] ?? '';
}

/** The URI inside `<...>`, or the bare one without header parameters. */
export function uriOf(value: string): string {
  return /<([^>]+)>/.exec(value)?.[1] ?? value.split(';')[0] ?? '';
}

/** Cuts whole messages off the front of a TCP stream by Content-Length. */
export function cutStream(stream: string): { messages: string[]; rest: string } {
  const messages: string[] = [];
  let rest = stream;
  for (;;) {
    rest = rest.replace(/^(\r\n)+/, '');
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) {
      return { messages, rest };
    }
    const length = Number(headerOf(parse(rest.slice(0, end + 4)), 'content-length') || '0');
    if (rest.length < end + 4 + length) {
      return { messages, rest };
    }
    messages.push(rest.slice(0, end + 4 + length));
    rest = rest.slice(end + 4 + length);
  }
}
