import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { AgentAttributes, CompiledRule } from '../../identity/index.ts';
import { RuleSet } from '../../identity/index.ts';
import {
  type BundleState,
  BundleStateSchema,
  type FromServer,
  FromServerSchema,
  type RevocationState,
  RevocationStateSchema,
  type RuleState,
  RuleStateSchema,
} from '../../proto/index.ts';
import type { Versioned } from '../feed.ts';
import type { BundleSet, RevocationSet } from './desk.ts';

export type ServerMessage = MessageInitShape<typeof FromServerSchema>['message'];

/** A message to an agent. */
export function fromServer(message: Exclude<ServerMessage, undefined>): FromServer {
  return create(FromServerSchema, { message });
}

/** Bundles as agents get them: the same object for all of them while it is the current one. */
export const bundleState = remembered(
  (state: Versioned<BundleSet>, trustDomain: string): BundleState =>
    create(BundleStateSchema, {
      version: BigInt(state.version),
      trustDomain,
      bundles: [...state.value.documents].map(([domain, jwks]) => ({ trustDomain: domain, jwks })),
      targets: [...state.value.targets],
      ...(state.value.regions === undefined ? {} : { regions: { trustDomain, jwks: state.value.regions } }),
    }),
);

/** Revocations as an agent gets them; a child authority is not sent its own. */
export function revocationState(state: Versioned<RevocationSet>, agent: string): RevocationState {
  const told = state.value.forChild.get(agent);
  if (told === undefined) return wholeRevocationState(state);
  return create(RevocationStateSchema, {
    version: BigInt(state.version),
    crls: [...told.crls],
    spiffeIds: [...told.spiffeIds],
  });
}

const wholeRevocationState = remembered(
  (state: Versioned<RevocationSet>): RevocationState =>
    create(RevocationStateSchema, {
      version: BigInt(state.version),
      crls: [...state.value.crls.values()],
      spiffeIds: [...state.value.spiffeIds],
    }),
);

/** All rules for an agent, or, with `names`, what has become of those; each federates with `also` as well. */
export function ruleState(
  { version, value }: Versioned<RuleSet>,
  agent: AgentAttributes,
  names?: ReadonlySet<string>,
  also: readonly string[] = [],
): RuleState {
  const bytesOf = (rule: CompiledRule) => (also.length === 0 ? ruleBytes(rule) : federated(rule, also));
  if (names === undefined) {
    return create(RuleStateSchema, {
      version: BigInt(version),
      complete: true,
      rules: value.forAgent(agent).map(bytesOf),
      agent: Buffer.from(JSON.stringify(agent)),
    });
  }
  const changed = new RuleSet([...names].flatMap((name) => value.get(name) ?? [])).forAgent(agent);
  const kept = new Set(changed.map(({ name }) => name));
  return create(RuleStateSchema, {
    version: BigInt(version),
    complete: false,
    rules: changed.map(bytesOf),
    removed: [...names].filter((name) => !kept.has(name)),
  });
}

const bytesOfRules = new WeakMap<CompiledRule, Buffer>();
function ruleBytes(rule: CompiledRule): Buffer {
  let bytes = bytesOfRules.get(rule);
  if (bytes === undefined) bytesOfRules.set(rule, (bytes = Buffer.from(JSON.stringify(rule.rule))));
  return bytes;
}

function federated({ rule }: CompiledRule, also: readonly string[]): Buffer {
  const { spec } = rule;
  const federatesWith = [...new Set([...(spec.federatesWith ?? []), ...also])];
  return Buffer.from(JSON.stringify({ ...rule, spec: { ...spec, federatesWith } }));
}

/** A function of a state that is worked out once for each state object. */
function remembered<State extends object, Rest extends unknown[], Result>(
  make: (state: State, ...rest: Rest) => Result,
): (state: State, ...rest: Rest) => Result {
  const known = new WeakMap<State, Result>();
  return (state, ...rest) => {
    let result = known.get(state);
    if (result === undefined) known.set(state, (result = make(state, ...rest)));
    return result;
  };
}
