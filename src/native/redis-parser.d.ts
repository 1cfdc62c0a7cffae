/** What `codec.ts` needs of redis-parser, which brings no types. */
declare module 'redis-parser' {
  interface ParserOptions {
    returnReply(reply: unknown): void;
    returnError(error: Error): void;
    returnFatalError(error: Error): void;
  }
  export default class RedisParser {
    constructor(options: ParserOptions);
    execute(bytes: Buffer): void;
  }
}
