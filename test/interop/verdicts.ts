import type { SpiffeId } from '../../src/access/index.ts';
import { engine } from '../../src/engines/envoy/index.ts';
import type { Loss } from '../../src/engines/engine.ts';
import {
  type AccessPolicy,
  type AccessRequest,
  compile,
  decide,
  type PolicySet,
} from '../../src/policy/index.ts';
import { type Agreement, agreement, verdictFor } from '../engines/agreement.ts';
import {
  askEnvoy,
  type EnvoyDocument,
  isRefused,
  requestLine,
  servedAs,
} from '../evaluators/envoy-document.ts';
import type { Outcome } from '../evaluators/envoy-rbac.ts';
import { type CaseSet, caseSets, portsToOpen } from './cases.ts';
import type { TestAuthority } from './certificates.ts';
import { DETAILS_HEADER, ID_HEADER, type ListenerSpec } from './envoy-config.ts';
import { receivedPath } from './backends.ts';
import { partsOf } from './rendered.ts';
import { requestBytes, sendRaw, type Target } from './raw-client.ts';

/** Where a caller with an identity comes from: inside the blocks that rules about unauthenticated callers name. */
const CALLER_ADDRESS = '127.1.2.3';
const OPAQUE = '\u0000\u0001\u0002 no request\r\n\r\n';

/** Sets asked at the same time: some answers wait for Envoy's delayed close. */
const AT_ONCE = 8;

/** The id of the policy that denies paths that are not in normal form. */
const GUARD_ID = '0000';

interface Site {
  readonly address: string;
  readonly document: EnvoyDocument;
  readonly set: PolicySet;
  readonly losses: readonly Loss[];
}

/** The case sets, each with one loopback address for each protected workload. */
export class VerdictRun {
  readonly #sets: { readonly set: CaseSet; readonly sites: ReadonlyMap<SpiffeId, Site> }[];

  constructor(sets: number, requests: number) {
    let next = 1;
    this.#sets = caseSets(sets, requests).map((set) => ({
      set,
      sites: sitesOf(set.policies, () => `127.77.${next >> 8}.${next++ & 255}`),
    }));
  }

  listeners(): ListenerSpec[] {
    return this.#sets.flatMap(({ set, sites }) =>
      [...sites].flatMap(([id, site]) => {
        const named = site.set.workloads.get(id)?.ports ?? [];
        return listenersOf(site, portsToOpen(named, set.requests, id));
      }),
    );
  }

  /** Asks Envoy every case and counts how it agrees with decide and with the evaluator. */
  async run(authority: TestAuthority): Promise<VerdictResult> {
    const result = new VerdictResult();
    for (let i = 0; i < this.#sets.length; i += AT_ONCE) {
      const asked = this.#sets.slice(i, i + AT_ONCE).flatMap(({ set, sites }) =>
        set.requests.map(async (request) => {
          const site = sites.get(request.to);
          if (site !== undefined) result.add(request, site, await ask(request, site, authority));
        }),
      );
      await Promise.all(asked);
    }
    return result;
  }
}

function sitesOf(policies: readonly AccessPolicy[], address: () => string): Map<SpiffeId, Site> {
  const { documents, losses } = engine.render(policies, { shadow: false, workload: () => undefined });
  const set = compile(policies);
  return new Map(
    documents.map(({ content }) => [
      // The engine's documents have these fields; the evaluator and Envoy refuse any other shape.
      content['workload'] as SpiffeId,
      { address: address(), document: content as unknown as EnvoyDocument, set, losses },
    ]),
  );
}

function listenersOf({ address, document }: Site, ports: readonly number[]): ListenerSpec[] {
  const { manager, http, tcp } = partsOf({ ...document });
  return ports.map((port) => ({
    address,
    port,
    ...(servedAs(document, port) === 'http'
      ? { http: { manager, filters: http } }
      : { tcp: { filters: tcp } }),
  }));
}

/** Envoy's answer, with the path that the upstream received. */
interface RealOutcome extends Outcome {
  readonly received?: string;
}

async function ask(
  { from, action, attributes }: AccessRequest,
  site: Site,
  authority: TestAuthority,
): Promise<RealOutcome> {
  const target: Target = {
    host: site.address,
    port: action.port,
    localAddress: from.kind === 'workload' ? CALLER_ADDRESS : from.from,
    ...(from.kind === 'workload' ? { identity: authority.leaf(from.id) } : {}),
  };
  const asHttp = servedAs(site.document, action.port) === 'http';
  if (action.kind === 'tcp') return { allowed: (await sendRaw(target, OPAQUE, asHttp)).bytes === OPAQUE };
  const { method, path } = requestLine(action);
  const bytes = requestBytes(
    method,
    attributes?.path ?? path,
    attributes?.host ?? 'h',
    attributes?.headers ?? {},
  );
  const answer = await sendRaw(target, bytes, asHttp);
  if (answer.bytes === bytes) return { allowed: true };
  const allowed = answer.status === 200;
  const details = /matched_policy\[(.*)\]/.exec(answer.headers.get(DETAILS_HEADER) ?? '')?.[1];
  const policyId = allowed ? answer.headers.get(ID_HEADER) : details === 'none' ? undefined : details;
  const received = allowed ? receivedPath(answer.body) : undefined;
  return {
    allowed,
    ...(policyId === undefined ? {} : { policyId }),
    ...(received === undefined ? {} : { received }),
  };
}

/**
 * What decide refuses as unsafe Envoy may rewrite before anything judges it (an absolute URL, "..;"): then the
 * request is the one that the upstream received.
 */
function asSeen(request: AccessRequest, set: PolicySet, { received }: RealOutcome): AccessRequest {
  const { action } = request;
  if (received === undefined || action.kind !== 'http') return request;
  if (decide(set, request).decidedBy !== 'unsafe-path') return request;
  return { ...request, action: { ...action, path: received } };
}

/** Counts, and the cases that should not be. */
export class VerdictResult {
  readonly counts = new Map<string, number>();
  readonly faults: string[] = [];

  add(asked: AccessRequest, { set, document, losses }: Site, real: RealOutcome): void {
    const request = asSeen(asked, set, real);
    if (request !== asked) this.#count('rewritten');
    const verdict = verdictFor(set, request, servedAs(document, request.action.port), Date.now());
    const how: Agreement = agreement(verdict, real.allowed, losses, real.policyId);
    this.#count('cases');
    this.#count(how);
    this.#count(real.allowed ? 'allowed' : 'denied');
    if (how === 'wider' || how === 'unexplained') this.#fault(how, request, { verdict, real });
    const said = askEnvoy(document, request, false, Date.now());
    // Filters of TCP chains tell no policy, and the codec refuses without one.
    // What the evaluator has the connection manager refuse, the guard denies where Envoy lets it through.
    const sameId = [undefined, said.policyId, ...(isRefused(request.action) ? [GUARD_ID] : [])].includes(
      real.policyId,
    );
    if (said.allowed !== real.allowed || !sameId) this.#fault('evaluator', request, { said, real });
    else this.#count('evaluator agrees');
    if (real.policyId !== undefined && verdict.rule !== undefined && how === 'equal') {
      this.#count(
        real.policyId.endsWith(`/${verdict.policy}/${verdict.rule}`) ? 'same rule named' : 'other rule named',
      );
    }
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  #fault(kind: string, { from, to, action, attributes }: AccessRequest, seen: object): void {
    this.#count(`fault: ${kind}`);
    this.faults.push(JSON.stringify({ kind, from, to, action, attributes, ...seen }));
  }
}
