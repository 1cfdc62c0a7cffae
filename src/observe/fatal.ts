/** What a person is told when a server cannot start or has to stop: code, message, fix. */

/** An error a person can act on. */
export interface Fatal {
  code: string;
  message: string;
  fix: string;
}

const systemFixes: Record<string, string> = {
  EADDRINUSE: 'stop the program that has this address and port, or configure another',
  EADDRNOTAVAIL: 'configure an address that this machine has',
  EACCES: 'start it as root, or give it the right to this file or port',
  EPERM: 'start it as root, or give it the capability that is missing',
  ENOENT: 'create the file or directory, or correct its path in the configuration',
  ENOSPC: 'free space on the disk',
};

/** Puts an error in words; `fix` is always there. */
export function describeFatal(error: unknown): Fatal {
  const thrown = error as { code?: unknown; message?: unknown; fix?: unknown };
  const text = typeof thrown.message === 'string' ? thrown.message : String(error);
  const [first = '', ...rest] = text.split('\n  fix: ');
  const named = /^(PBX_[A-Z_]+):\s*/.exec(first);
  const code = typeof thrown.code === 'string' ? thrown.code : (named?.[1] ?? 'PBX_INTERNAL');
  const said = named === null ? first : first.slice(named[0].length);
  const fix =
    (typeof thrown.fix === 'string' ? thrown.fix : undefined) ??
    rest[0] ??
    systemFixes[code] ??
    'see the lines before this one in the log';
  return { code, message: said, fix };
}
