/** A kamailio between phones and the cluster; `edge.cfg` says what it does. */
import { Kamailio } from './process.ts';

export interface EdgeOptions {
  namespace: string;
  address: string;
  port: number;
  /** The VIP. */
  cluster: { address: string; port: number };
}

export class Edge extends Kamailio {
  constructor({ cluster, ...place }: EdgeOptions) {
    const names = { CLUSTER: `"${cluster.address}"`, CLUSTER_PORT: `"${cluster.port}"` };
    super({ configuration: 'edge', ...place, names });
  }
}
