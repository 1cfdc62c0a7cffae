/**
 * A request handler that has calls forwarded to phones; runs inside the phones' namespace, see
 * `inside.ts`.
 */
import { createServer } from 'node:http';
import { serve } from './inside.ts';

/** Where users are reached, `address:port`. */
const places = new Map<string, string>();

serve({
  listen(address: string, port: number): Promise<void> {
    const server = createServer((req, res) => {
      const user = new URL(req.url ?? '/', 'http://here').searchParams.get('uriUser') ?? '';
      const data = { destination: `sip:${user}@${places.get(user)}` };
      res.end(JSON.stringify({ action: 'proxy', data }));
    });
    return new Promise((resolve) => server.listen(port, address, resolve));
  },
  forward(user: string, place: string): void {
    places.set(user, place);
  },
});
