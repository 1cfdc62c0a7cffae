/**
 * The bytes between TypeScript and the addon: requests as counted byte strings,
 * replies in the Redis protocol.
 *
 *   requests: u32 requests, each u16 commands, each u16 arguments, each u32 length + bytes
 */
import RedisParser from 'redis-parser';
import type { Command, Reply } from './types.ts';

/** Encodes requests, little endian, into one buffer: every read and write of a call passes here. */
export function encodeRequests(requests: readonly (readonly Command[])[]): Buffer {
  const buffer = Buffer.allocUnsafe(sizeOf(requests));
  let at = buffer.writeUInt32LE(requests.length);
  for (const request of requests) {
    at = buffer.writeUInt16LE(request.length, at);
    for (const command of request) {
      at = buffer.writeUInt16LE(command.length, at);
      for (const argument of command) {
        at = writeArgument(buffer, argument, at);
      }
    }
  }
  return buffer.subarray(0, at);
}

/** Bytes that are enough: a UTF-16 unit is three bytes of UTF-8 at most. */
function sizeOf(requests: readonly (readonly Command[])[]): number {
  let size = 4;
  for (const request of requests) {
    size += 2;
    for (const command of request) {
      size += 2;
      for (const argument of command) {
        size += 4 + (Buffer.isBuffer(argument) ? argument.length : 3 * String(argument).length);
      }
    }
  }
  return size;
}

function writeArgument(buffer: Buffer, argument: Command[number], at: number): number {
  const start = at + 4;
  const length = Buffer.isBuffer(argument)
    ? argument.copy(buffer, start)
    : buffer.write(String(argument), start);
  buffer.writeUInt32LE(length, at);
  return start + length;
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

/** The marker of a request that got no reply. */
const noReply = 0xffff_ffff;

/** Splits what was settled: each a u32 id, a u32 length and so many bytes, little endian. */
export function decodeSettled(bytes: Buffer): { id: number; reply: Buffer | null }[] {
  const settled: { id: number; reply: Buffer | null }[] = [];
  let at = 0;
  while (at < bytes.length) {
    const id = bytes.readUInt32LE(at);
    const length = bytes.readUInt32LE(at + 4);
    at += 8;
    const end = length === noReply ? at : at + length;
    settled.push({ id, reply: length === noReply ? null : bytes.subarray(at, end) });
    at = end;
  }
  return settled;
}
