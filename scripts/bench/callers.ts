/** Users of a lab who call each other with digest through call control: load for a measurement. */
import { labDomain, labPorts } from '../../src/lab/index.ts';
import { inNamespace } from '../../src/lab/network.ts';
import { addUsers, type BenchLab } from './lab.ts';
import { applyLoad, authentication, type Load, type SippLoad, startAnswering } from './sipp.ts';

const firstUser = 200_000;
/** So many that nobody is called twice at once. */
const pairs = 100;
const callerAddress = '10.77.0.230';
const calleeAddress = '10.77.0.231';

export interface Callers {
  /** Calls until `calls` were made, or until there are enough. */
  call(
    load: Pick<SippLoad, 'perSecond' | 'calls' | 'talkMs' | 'timeoutMs' | 'enough'>,
  ): Promise<Load>;
}

/** Adds the users, registers those who are called and answers for them while `use` runs. */
export async function withCallers<T>(
  lab: BenchLab,
  use: (callers: Callers) => Promise<T>,
): Promise<T> {
  const password = await addUsers(lab, firstUser, 2 * pairs);
  await lab.untilHealthy();
  const inside = (argv: readonly string[]) => inNamespace(lab.plan.phonesNamespace, argv);
  const common = { inside, remote: `${lab.plan.vip[0]}:${labPorts.sip}`, domain: labDomain };
  const user = (number: number) => String(firstUser + number);
  const login = (number: number) => [user(number), authentication(user(number), password)];
  const numbers = Array.from({ length: pairs }, (_, i) => i);
  await applyLoad({
    ...common,
    scenario: 'register.xml',
    ...{ address: calleeAddress, port: 5070, perSecond: 100, calls: pairs, timeoutMs: 30_000 },
    rows: numbers.map((i) => login(pairs + i)),
  });
  const callee = await startAnswering(inside, calleeAddress, 5070);
  try {
    return await use({
      call: (load) =>
        applyLoad({
          ...common,
          ...load,
          scenario: 'call-digest.xml',
          ...{ address: callerAddress, port: 5060 },
          rows: numbers.map((i) => [...login(i), user(pairs + i)]),
        }),
    });
  } finally {
    await callee.stop();
  }
}
