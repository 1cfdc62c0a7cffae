/** `ADDRESS:PORT` as configuration and command line write it; IPv6 stands in brackets. */

/** Takes `10.0.0.1:5060` or `[fd00::1]:5060` apart; null when it is neither. */
export function splitAddress(text: string): { host: string; port: number } | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65_535) {
    return null;
  }
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3]) };
}

/** Puts a host and a port together. */
export function joinAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
