/**
 * The phones of `media-failover.ts`, in the phones' namespace: scripted ones, many in one
 * process, with a packet every 40 ms, because what is measured shares the processors with them.
 */
import { serve } from '../../test/support/inside.ts';
import { Phone, type PhoneOptions } from '../../test/support/phone/phone.ts';

const phones: Phone[] = [];

serve({
  open: async (options: PhoneOptions) => phones.push(await Phone.open(options)) - 1,
  register: async (index: number) => (await at(index).register(3_600)).status,
  /** Both numbers are those of `open`; resolves when both are in the call. */
  talk: async (caller: number, callee: number, target: string) => {
    const [alice, bob] = [at(caller), at(callee)];
    alice.invite(target);
    await bob.until('ringing', 15_000);
    bob.answer();
    await alice.until('up', 15_000);
  },
  listen: () => {
    for (const phone of phones) {
      phone.listen(0);
    }
  },
  reports: () =>
    phones.map((phone) => {
      const { requests, state } = phone.snapshot();
      return { ...phone.audio(), requests, state };
    }),
  hangUp: async (index: number) => {
    await at(index).leave();
  },
  close: () => {
    for (const phone of phones.splice(0)) {
      phone.close();
    }
  },
});

function at(index: number): Phone {
  const found = phones[index];
  if (found === undefined) {
    throw new Error(`no phone ${index}`);
  }
  return found;
}
