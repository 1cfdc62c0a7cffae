/**
 * The bytes between TypeScript and the addon: requests as counted byte strings,
 * replies in the Redis protocol.
 *
 *   requests: u32 requests, each u16 commands, each u16 arguments, each u32 length + bytes
 */
import RedisParser from 'redis-parser';
import type { Command, Reply } from './types.ts';

/** Encodes requests, little endian. */
export function encodeRequests(requests: readonly (readonly Command[])[]): Buffer {
  const parts: Buffer[] = [u32(requests.length)];
  for (const request of requests) {
    parts.push(u16(request.length));
    for (const command of request) {
      parts.push(u16(command.length));
      for (const argument of command) {
        const bytes = Buffer.isBuffer(argument) ? argument : Buffer.from(String(argument));
        parts.push(u32(bytes.length), bytes);
      }
    }
  }
  return Buffer.concat(parts);
}

/** Decodes the replies of `Store.execute`; an error reply becomes an `Error` value. */
export function decodeReplies(bytes: Buffer): (Reply | Error)[] {
  const replies: (Reply | Error)[] = [];
  const parser = new RedisParser({
    returnReply: (reply: Reply) => replies.push(reply),
    returnError: (error: Error) => replies.push(error),
    returnFatalError: (error: Error) => {
      throw error;
    },
  });
  parser.execute(bytes);
  return replies;
}

function u16(value: number): Buffer {
  const buffer = Buffer.allocUnsafe(2);
  buffer.writeUInt16LE(value);
  return buffer;
}

function u32(value: number): Buffer {
  const buffer = Buffer.allocUnsafe(4);
  buffer.writeUInt32LE(value);
  return buffer;
}
