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
  // An error of the addon has a code that says nothing; its text begins with ours.
  const code = named?.[1] ?? (typeof thrown.code === 'string' ? thrown.code : 'PBX_INTERNAL');
  const [said = '', advice] = named === null ? [first] : splitAdvice(first.slice(named[0].length));
  const fix =
    (typeof thrown.fix === 'string' ? thrown.fix : undefined) ??
    rest[0] ??
    advice ??
    systemFixes[code] ??
    'see the lines before this one in the log';
  return { code, message: said, fix };
}

/** Errors of the addon are one line, `what happened; what to do`. */
function splitAdvice(text: string): [string, string?] {
  const at = text.lastIndexOf('; ');
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 2)];
}
