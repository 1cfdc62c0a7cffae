/** The child process that holds the phones; see `index.ts` for the other end. */
import { serve } from '../inside.ts';
import { registerBurst } from './burst.ts';
import { Phone, type PhoneOptions } from './phone.ts';
import { RtpEnd } from './rtp.ts';

const phones: Phone[] = [];

function phone(index: number): Phone {
  const found = phones[index];
  if (found === undefined) {
    throw new Error(`no phone ${index}`);
  }
  return found;
}

const recorders: RtpEnd[] = [];

serve({
  record: async (address: string, expectHertz: number) => {
    const end = await RtpEnd.open(address, 0, { hertz: expectHertz });
    end.restart(expectHertz);
    return { index: recorders.push(end) - 1, port: end.port };
  },
  recorded: (index: number) => recorders[index]?.report(),
  open: async (options: PhoneOptions) => phones.push(await Phone.open(options)) - 1,
  do: (index: number, method: keyof Phone, args: unknown[]) =>
    (phone(index)[method] as (...a: unknown[]) => unknown).apply(phone(index), args),
  burst: registerBurst,
});
