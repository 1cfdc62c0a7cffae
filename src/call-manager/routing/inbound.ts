/** Which trunk a call comes from, and whom it is for. Pure. From headers have no say in it. */
import { fail, type Result, succeed } from '../../domain/errors.ts';
import { type InboundRoute, isInside, type Trunk } from '../../domain/trunk.ts';
import { bestRoute, rewrite } from './number.ts';

/** A trunk with the networks its calls come from. */
export interface KnownTrunk {
  trunk: Trunk;
  networks: readonly string[];
}

export interface InboundQuestion {
  source: string;
  /** User part of the Request-URI. */
  requestUser: string;
  /** User part of To. */
  toUser: string;
  trunks: readonly KnownTrunk[];
  routes: readonly InboundRoute[];
}

export interface InboundAnswer {
  trunk: Trunk;
  /** User or number that is called. */
  to: string;
}

export function acceptInbound(question: InboundQuestion): Result<InboundAnswer> {
  const { source, requestUser, toUser, routes } = question;
  const near = question.trunks.filter(
    ({ trunk, networks }) => trunk.enabled && isInside(networks, source),
  );
  if (near.length === 0) {
    return fail('PBX_CALLER_UNKNOWN', source);
  }
  // Two accounts at one provider: it calls the Contact that the account registered.
  const account = ({ trunk }: KnownTrunk) => trunk.user.split('@')[0];
  const own = near.find((one) => one.trunk.mode === 'register' && account(one) === requestUser);
  const numbers = own === undefined ? [requestUser, toUser] : [toUser, requestUser];
  for (const number of numbers) {
    for (const { trunk } of own === undefined ? near : [own]) {
      const route = inboundRoute(routes, trunk.name, number);
      if (route !== null) {
        return succeed({ trunk, to: route.to === '' ? rewrite(number, route) : route.to });
      }
    }
  }
  return fail('PBX_ROUTE_NONE', `'${numbers[0]?.slice(0, 64)}'`);
}

/** A route of the trunk itself goes before one of any trunk. */
function inboundRoute(routes: readonly InboundRoute[], trunk: string, number: string) {
  const of = (name: string) => routes.filter((route) => route.trunk === name);
  return bestRoute(of(trunk), number) ?? bestRoute(of(''), number);
}
