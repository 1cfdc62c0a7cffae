/**
 * Asks the VIP with OPTIONS every few milliseconds from its own namespace and prints, for
 * each answer, when its question left and when the answer came: monotonic nanoseconds, the
 * same clock in every process of the machine.
 *
 *   node probe.ts LOCAL REMOTE PORT INTERVAL_MS
 */
import { createSocket } from 'node:dgram';

const [local = '', remote = '', port = '5060', intervalMs = '5'] = process.argv.slice(2);
const socket = createSocket('udp4');
const asked = new Map<string, bigint>();
/** Answers that never come must not fill the memory: older questions are forgotten. */
const rememberMax = 4096;
let number = 0;

socket.on('message', (bytes) => {
  const text = bytes.toString('latin1');
  const id = /^(?:Call-ID|i):\s*(\S+)/im.exec(text)?.[1] ?? '';
  const sentAt = asked.get(id);
  if (sentAt !== undefined && text.startsWith('SIP/2.0 ')) {
    asked.delete(id);
    process.stdout.write(`${sentAt} ${process.hrtime.bigint()}\n`);
  }
});
// No route and no neighbour are what a takeover looks like from here.
socket.on('error', () => undefined);
process.stdout.on('error', () => process.exit(0));

socket.bind(0, local, () => {
  setInterval(() => {
    number += 1;
    const id = `probe-${process.pid}-${number}`;
    const from = `${local}:${socket.address().port}`;
    const text = [
      `OPTIONS sip:${remote} SIP/2.0`,
      `Via: SIP/2.0/UDP ${from};branch=z9hG4bK${id};rport`,
      'Max-Forwards: 70',
      `From: <sip:probe@${from}>;tag=${number}`,
      `To: <sip:${remote}>`,
      `Call-ID: ${id}`,
      'CSeq: 1 OPTIONS',
      'Content-Length: 0',
      '\r\n',
    ].join('\r\n');
    asked.set(id, process.hrtime.bigint());
    const oldest = asked.keys().next().value;
    if (asked.size > rememberMax && oldest !== undefined) {
      asked.delete(oldest);
    }
    socket.send(text, Number(port), remote);
  }, Number(intervalMs));
});
