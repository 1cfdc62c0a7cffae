/** The child process that holds the phones; see `index.ts` for the other end. */
import { serve } from '../inside.ts';
import { registerBurst } from './burst.ts';
import { Phone, type PhoneOptions } from './phone.ts';

const phones: Phone[] = [];

function phone(index: number): Phone {
  const found = phones[index];
  if (found === undefined) {
    throw new Error(`no phone ${index}`);
  }
  return found;
}

serve({
  open: async (options: PhoneOptions) => phones.push(await Phone.open(options)) - 1,
  do: (index: number, method: keyof Phone, args: unknown[]) =>
    (phone(index)[method] as (...a: unknown[]) => unknown).apply(phone(index), args),
  burst: registerBurst,
});
