/**
 * The application of the proxied calls: tells the engine to forward every INVITE to one address
 * and to stay in the dialog.
 *
 *   node proxy-application.ts ENGINE_HOST ENGINE_PORT SECRET DESTINATION
 */
import Untyped from 'drachtio-srf';

interface Application {
  on(event: string, listener: () => void): void;
  connect(options: object): void;
  invite(handler: (req: { proxy(options: object): Promise<unknown> }) => void): void;
}

const [host, port = '9022', secret, destination] = process.argv.slice(2);
const app = new (Untyped as unknown as new () => Application)();
app.on('error', () => process.exit(1));
app.on('connect', () => process.stdout.write('ready\n'));
app.invite((req) => {
  // A call that fails is counted by sipp.
  req.proxy({ remainInDialog: true, destination }).catch(() => undefined);
});
app.connect({ host, port: Number(port), secret });
