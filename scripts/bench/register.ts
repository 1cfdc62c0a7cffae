/** The load of registrations: every user registers once, with digest, from one address. */
import { labDomain, labPorts } from '../../src/lab/index.ts';
import { inNamespace } from '../../src/lab/network.ts';
import type { BenchLab } from './lab.ts';
import { scaled } from './scale.ts';
import { applyLoad, authentication, type Load } from './sipp.ts';

export const users = scaled(50_000);
export const firstUser = 100_000;
export const phoneAddress = '10.77.0.230';

/** Registers all users at `address`. */
export async function registerAll(
  lab: BenchLab,
  address: string,
  password: string,
  { perSecond, timeoutMs }: { perSecond: number; timeoutMs: number },
): Promise<Load> {
  return await applyLoad({
    scenario: 'register.xml',
    inside: (argv) => inNamespace(lab.plan.phonesNamespace, argv),
    remote: `${address}:${labPorts.sip}`,
    address: phoneAddress,
    port: 5060,
    domain: labDomain,
    rows: Array.from({ length: users }, (_, i) => {
      const name = String(firstUser + i);
      return [name, authentication(name, password)];
    }),
    perSecond,
    calls: users,
    timeoutMs,
  });
}
