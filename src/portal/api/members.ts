/** The members of the store's cluster, and their changes. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type {
  StoreAlarm,
  StoreMember,
  StoreMemberChange,
  StoreMemberRefusal,
} from '../../native/index.ts';
import { addressOf, planMembers, type StorePorts, type WantedMember } from '../members.ts';
import { ApiError } from './errors.ts';
import { errorShape, type MemberChange, memberChangeShape, membersShape } from './shapes.ts';

/** What the API needs of the store and of the configuration. */
export interface MemberSource {
  list(): StoreMember[];
  alarms(): StoreAlarm[];
  change(change: StoreMemberChange): Promise<StoreMemberRefusal | null>;
  /** Takes a server that left out of the list of servers. */
  forget(server: string): Promise<unknown>;
  /** `cluster.peers` of the configuration of this server, as it is now. */
  wanted(): readonly WantedMember[];
  ports: StorePorts;
}

export function addMembers(api: FastifyInstance, source: MemberSource): void {
  const { ports } = source;
  const view = () => {
    const items = source.list();
    const wanted = source.wanted();
    const changes = planMembers(wanted, items, ports).map((change) => said(change, wanted));
    return { items, alarms: source.alarms(), changes };
  };
  const typed = api.withTypeProvider<ZodTypeProvider>();
  typed.get(
    '/api/v1/members',
    {
      schema: {
        summary: 'The members of the store, and how they differ from the configuration',
        tags: ['members'],
        response: { 200: membersShape, default: errorShape },
      },
    },
    view,
  );
  typed.post(
    '/api/v1/members',
    {
      schema: {
        summary: 'Change the members; each change may be repeated',
        tags: ['members'],
        body: memberChangeShape,
        response: { 200: z.object({ items: membersShape.shape.items }), default: errorShape },
      },
    },
    async (request) => {
      const before = source.list();
      const refusal = await source.change(toStore(request.body, ports));
      if (refusal !== null) {
        const { code, text, fix } = refusal;
        throw new ApiError(statusOf(code), code, text, fix);
      }
      const items = source.list();
      await forgetServer(source, request.body, before);
      return { items };
    },
  );
}

/**
 * A server whose last member was removed does not count as down for ever. This node's list may be
 * behind the leader's, so the change itself says who leaves.
 */
async function forgetServer(
  source: MemberSource,
  change: MemberChange,
  before: readonly StoreMember[],
): Promise<void> {
  const leaving = change.type === 'remove' ? change.id : change.type === 'replace' && change.old;
  const name = before.find((member) => member.id === leaving)?.name;
  const stays =
    before.some((member) => member.name === name && member.id !== leaving) ||
    (change.type === 'replace' && (change.server?.name ?? name) === name);
  if (name !== undefined && name !== '' && !stays) {
    await source.forget(name);
  }
}

function toStore(change: MemberChange, ports: StorePorts): StoreMemberChange {
  switch (change.type) {
    case 'add':
      return { type: 'add', id: change.id, address: addressOf(change.server, ports) };
    case 'replace': {
      const { server } = change;
      const address = server === undefined ? null : addressOf(server, ports);
      return { type: 'replace', old: change.old, new: change.new, address };
    }
    default:
      return change;
  }
}

/** A change in the words of the API. */
function said(change: StoreMemberChange, wanted: readonly WantedMember[]): MemberChange {
  const serverOf = (id: number) => {
    const { name = '', address = '' } = wanted.find((one) => one.id === id) ?? {};
    return { name, address };
  };
  switch (change.type) {
    case 'add':
      return { type: 'add', id: change.id, server: serverOf(change.id) };
    case 'replace':
      return { type: 'replace', old: change.old, new: change.new, server: serverOf(change.new) };
    default:
      return change;
  }
}

function statusOf(code: string): number {
  switch (code) {
    case 'PBX_MEMBER_UNKNOWN':
      return 404;
    case 'PBX_MEMBER_NO_LEADER':
    case 'PBX_MEMBER_UNFINISHED':
      return 503;
    default:
      return 409;
  }
}
