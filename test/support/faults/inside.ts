/** The process of a run that is where the clients are: `inside.ts PLAN`, the plan as JSON. */
import { FaultNetwork } from './network.ts';
import { type Plan, play } from './play.ts';

const plan = JSON.parse(process.argv[2] ?? '') as Omit<Plan, 'network'> & { owner: string };

await play({ ...plan, network: new FaultNetwork(plan.nodes, plan.owner) });
// Clients may still wait for answers of nodes that are gone.
process.exit(0);
