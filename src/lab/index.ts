/**
 * A whole cluster on one machine, every server in a network namespace of its own.
 *
 * # Layout
 * - `plan.ts`: names, addresses, files (pure)
 * - `materials.ts`: authority, certificates, secrets, configurations
 * - `network.ts`, `processes.ts`: namespaces and what runs in them
 * - `cluster.ts`: up, down, one server; `readiness.ts`: waits until it works
 * - `insider.ts`, `inside.ts`: questions asked from inside a namespace
 * - `phone.ts`: a baresip phone; `demo.ts`: two of them and a dying leader
 */
export {
  addCallManager,
  clusterDown,
  clusterUp,
  killServer,
  type LabOptions,
  planOf,
  reloadServers,
  startServer,
  status,
} from './cluster.ts';
export { Insider } from './insider.ts';
export { Listener, Phone, type PhoneOptions, startPhone } from './phone.ts';
export { type LabPlan, type LabServer, labDomain, labFiles, labPorts } from './plan.ts';
export { LabApi } from './readiness.ts';
export { type Credentials, type LabRecord, readCredentials, readLab } from './records.ts';
