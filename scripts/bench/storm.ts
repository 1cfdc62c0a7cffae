/**
 * All phones at once: every user is registered, the leader is killed, and while the next one
 * takes over all of them register again within ten seconds, as phones do that lost their server.
 */
import { addUsers, type BenchLab, withLab } from './lab.ts';
import { cpuSeconds } from './machine.ts';
import { firstUser, registerAll, users } from './register.ts';
import { type PartResult, say } from './report.ts';
import { type Load, loadHead, loadRow, perSuccess } from './sipp.ts';

const stormSeconds = 10;

export async function measureStorm(): Promise<PartResult> {
  return await withLab(async (lab) => {
    say(`adding ${users} users`);
    const password = await addUsers(lab, firstUser, users);
    const { leader } = await lab.untilHealthy();
    const calm = await register(lab, password);
    const names = lab.plan.servers
      .filter((one) => one.id !== null && one.name !== leader)
      .map((one) => one.name);
    const used = () => names.reduce((sum, name) => sum + cpuSeconds(lab.pidOf(name)), 0);
    const before = used();
    await lab.kill(leader ?? '');
    const storm = await register(lab, password);
    const cpu = used() - before;
    const status = await lab.api.status();
    return {
      part: 'storm',
      title: `Storm: ${users} phones register within ${stormSeconds} s after the leader is killed`,
      notes: [
        'sipp registers every user with digest, first with all servers there, then again from the ' +
          'moment the leader is dead; the takeover is inside the second row. Times are from a ' +
          'REGISTER with credentials to its 200, retransmissions included.',
        'CPU is user and system time of the two remaining Call Managers, divided by registrations.',
        `Registered users afterwards, as the new leader counts: ${status?.registrations ?? '?'}.`,
        'sipp and the servers share the processors.',
      ],
      head: [...loadHead, 'CPU us'],
      rows: [
        [...loadRow('all servers there', calm), '-'],
        [...loadRow('leader killed', storm), perSuccess(cpu, storm)],
      ],
    };
  });
}

async function register(lab: BenchLab, password: string): Promise<Load> {
  const address = lab.plan.vip[0] ?? '';
  say(`registering ${users} users at ${address} within ${stormSeconds} s`);
  return await registerAll(lab, address, password, {
    perSecond: Math.ceil(users / stormSeconds),
    timeoutMs: 60_000,
  });
}
