import { pathOf, type SpiffeId, trustDomainOf } from '../../../src/access/index.ts';
import { engine } from '../../../src/engines/envoy/index.ts';
import type { Loss } from '../../../src/engines/engine.ts';
import {
  type EnvoyResource,
  envoyResources,
  inboundName,
} from '../../../src/engines/envoy/resources/index.ts';
import { type AccessRequest, compile, decide, type PolicySet } from '../../../src/policy/index.ts';
import { agreement, verdictFor } from '../../engines/agreement.ts';
import { type EnvoyDocument, isRefused, requestLine, servedAs } from '../../evaluators/envoy-document.ts';
import { askSite, type EnvoySite, siteOf } from '../../evaluators/envoy-resources.ts';
import { receivedPath } from '../backends.ts';
import { type CaseSet, caseSets, portsToOpen } from '../cases.ts';
import type { TestAuthority } from '../certificates.ts';
import { type Answer, requestBytes, sendRaw, type Target } from '../raw-client.ts';
import { type AccessLogs, type Entry, enforcedIn, targetIn, type Told } from './access-logs.ts';

/** Listeners take other ports than policies speak of. */
const LISTEN_SHIFT = 7;
const CALLER_ADDRESS = '127.1.2.3';
const OPAQUE = '\u0000\u0001\u0002 no request\r\n\r\n';
/** Access logs come once a second. */
const AT_ONCE = 64;
/** The id of the policy that denies paths that are not in normal form. */
const GUARD_ID = '0000';

export type Phase = 'shadow' | 'enforced';

/** Envoy's SPIFFE validator takes no certificate whose ID is a trust domain's own. */
function isAskable({ from }: AccessRequest): boolean {
  return from.kind !== 'workload' || pathOf(from.id) !== '';
}

/** A workload on an address of its own. */
interface Place {
  readonly workload: SpiffeId;
  readonly address: string;
  readonly set: CaseSet;
  readonly compiled: PolicySet;
  readonly ports: ReadonlyMap<number, 'http' | 'tcp'>;
}

interface Rendered {
  readonly losses: readonly Loss[];
  readonly sites: ReadonlyMap<number, EnvoySite>;
}

/** The decision corpus and random sets, asked of one Envoy under many addresses. */
export class Corpus {
  readonly #places: readonly Place[];
  readonly #rendered = new Map<Place, Rendered>();

  constructor(sets: number, requests: number) {
    let next = 1;
    const all = caseSets(sets, requests).map(({ policies, requests: own }) => ({
      policies,
      requests: own.filter(isAskable),
    }));
    this.#places = all.flatMap((set) => placesOf(set, () => `127.79.${next >> 8}.${next++ & 255}`));
  }

  get workloads(): SpiffeId[] {
    return [...new Set(this.#places.map(({ workload }) => workload))];
  }

  get trustDomains(): string[] {
    return [...new Set([...this.workloads, ...this.#callers].map(trustDomainOf))];
  }

  get #callers(): SpiffeId[] {
    const all = this.#places.flatMap(({ set }) => set.requests);
    return [...new Set(all.flatMap(({ from }) => (from.kind === 'workload' ? [from.id] : [])))];
  }

  /** Everything for one Envoy; afterwards {@link run} asks in this phase. */
  resources(phase: Phase, backends: { readonly http: number; readonly tcp: number }): EnvoyResource[] {
    return this.#places.flatMap((place) => {
      const { workload, address, set } = place;
      const { resources, losses } = envoyResources({
        workload,
        trustDomains: this.trustDomains,
        version: phase,
        accessLogCluster: 'interlock_control_plane',
        enforcement: {
          workload,
          authentication: 'permissive',
          stage: phase,
          target: set.policies,
          ...(phase === 'enforced' ? { enforced: set.policies } : {}),
        },
        inbound: [...place.ports].map(([port, protocol]) => ({
          listen: { host: address, port: port + LISTEN_SHIFT },
          forward: { host: '127.0.0.1', port: backends[protocol] },
          port,
          protocol,
        })),
        outbound: [],
      });
      const sites = [...place.ports.keys()].map((port): [number, EnvoySite] => [
        port,
        siteOf(resources, inboundName({ host: address, port: port + LISTEN_SHIFT })),
      ]);
      this.#rendered.set(place, { losses: losses.target, sites: new Map(sites) });
      return [...resources];
    });
  }

  /** Asks every case in one phase. */
  async run(phase: Phase, authority: TestAuthority, logs: AccessLogs): Promise<Result> {
    const result = new Result();
    // Made before: making one holds everything else up.
    for (const id of this.#callers) authority.leaf(id);
    const cases = this.#places.flatMap((place) =>
      place.set.requests.filter(({ to }) => to === place.workload).map((request) => ({ place, request })),
    );
    let next = 0;
    const worker = async () => {
      for (let one = cases[next++]; one !== undefined; one = cases[next++]) {
        await this.#one(phase, one.place, one.request, result, { authority, logs });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return result;
  }

  async #one(
    phase: Phase,
    place: Place,
    asked: AccessRequest,
    result: Result,
    { authority, logs }: { readonly authority: TestAuthority; readonly logs: AccessLogs },
  ): Promise<void> {
    const { port } = asked.action;
    const protocol = place.ports.get(port);
    const rendered = this.#rendered.get(place);
    const site = rendered?.sites.get(port);
    if (protocol === undefined || rendered === undefined || site === undefined)
      throw new Error('a port is missing');
    const id = `${phase}-${result.next()}`;
    const before = logs.entries.length;
    const real = await ask(asked, { address: place.address, protocol, authority, id });
    const request = asSeen(asked, place.compiled, real.received);
    const said = askSite(site, request, 'target', Date.now());
    if (said === undefined || said === 'refused') throw new Error('the target set is not there');
    const verdict = verdictFor(place.compiled, request, protocol, Date.now());
    const isUnseen = protocol === 'http' && (request.action.kind === 'tcp' || isRefused(request.action));
    const shown = {
      id,
      from: request.from,
      to: request.to,
      action: request.action,
      attributes: request.attributes,
    };
    const fault = (kind: string, more: object) =>
      result.fault(kind, { ...shown, verdict, said, ...real, ...more });

    result.count('cases');
    if (phase === 'shadow') {
      if (real.allowed) result.count('served');
      else if (isUnseen && real.status === 400) result.count('refused by the codec or the manager');
      else fault('shadow denied', {});
    } else {
      const how = agreement(verdict, real.allowed, rendered.losses, said.policyId);
      result.count(how);
      if (how === 'wider' || how === 'unexplained') fault(how, {});
      if (said.allowed !== real.allowed) fault('evaluator', {});
    }
    if (real.status === 400) return;
    const entry = await logs.find((one) => isOf(one, { id, protocol, real, place }), before);
    checkEntry(entry, { phase, said, isUnseen, request, result, fault });
  }
}

function checkEntry(
  entry: Entry,
  options: {
    readonly phase: Phase;
    readonly said: Told;
    readonly isUnseen: boolean;
    readonly request: AccessRequest;
    readonly result: Result;
    readonly fault: (kind: string, more: object) => void;
  },
): void {
  const { phase, said, isUnseen, request, result, fault } = options;
  const [target, enforced] = [targetIn(entry), enforcedIn(entry)];
  const isSame = (seen: Told | undefined) =>
    seen !== undefined &&
    seen.allowed === said.allowed &&
    (seen.policyId === said.policyId || (isUnseen && seen.policyId === GUARD_ID));
  if (isSame(target)) result.count('target verdict in the access log');
  else fault('target verdict', { target });
  const isSilent = phase === 'shadow' || (entry.http === undefined && said.allowed);
  if (isSilent ? enforced === undefined : isSame(enforced))
    result.count('enforced verdict in the access log');
  else fault('enforced verdict', { enforced });
  const peer = entry.common.tlsProperties?.peerCertificateProperties?.subjectAltName[0]?.san.value;
  const expected = request.from.kind === 'workload' ? request.from.id : undefined;
  if (peer !== expected) fault('peer', { peer });
  const version = entry.http === undefined ? entry.about.version : entry.common.routeName;
  if (version !== phase || entry.about.port !== request.action.port || entry.about.workload !== request.to)
    fault('log', { about: entry.about, version });
}

function isOf(
  { about, http, common }: Entry,
  of: { readonly id: string; readonly protocol: string; readonly real: Real; readonly place: Place },
): boolean {
  if (of.protocol === 'http') return http?.request?.requestId === of.id;
  if (about.kind !== 'connections' || about.workload !== of.place.workload) return false;
  const local = common.downstreamLocalAddress?.address;
  const remote = common.downstreamRemoteAddress?.address;
  return (
    local?.case === 'socketAddress' &&
    local.value.address === of.place.address &&
    remote?.case === 'socketAddress' &&
    // Two callers at two addresses may have the same port.
    remote.value.address === of.real.localAddress &&
    remote.value.portSpecifier.value === of.real.localPort
  );
}

/** What came back. */
interface Real {
  readonly allowed: boolean;
  readonly status?: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly received?: string;
}

async function ask(
  { from, action, attributes }: AccessRequest,
  at: {
    readonly address: string;
    readonly protocol: 'http' | 'tcp';
    readonly authority: TestAuthority;
    readonly id: string;
  },
): Promise<Real> {
  const target: Target = {
    host: at.address,
    port: action.port + LISTEN_SHIFT,
    ...(from.kind === 'workload'
      ? { localAddress: CALLER_ADDRESS, identity: at.authority.leaf(from.id) }
      : { localAddress: from.from, plain: true }),
  };
  const isHttp = at.protocol === 'http';
  if (action.kind === 'tcp') return realOf(await sendRaw(target, OPAQUE, isHttp), OPAQUE, target);
  const { method, path } = requestLine(action);
  const headers = { ...attributes?.headers, 'x-request-id': at.id };
  const bytes = requestBytes(method, attributes?.path ?? path, attributes?.host ?? 'h', headers);
  return realOf(await sendRaw(target, bytes, isHttp), bytes, target);
}

function realOf(answer: Answer, sent: string, { localAddress }: Target): Real {
  const { bytes, status, localPort, body } = answer;
  const allowed = bytes === sent || status === 200;
  const received = status === 200 ? receivedPath(body) : undefined;
  return {
    allowed,
    localAddress,
    localPort,
    ...(status === undefined || bytes === sent ? {} : { status }),
    ...(received === undefined ? {} : { received }),
  };
}

/** What decide refuses as unsafe Envoy may rewrite before anything judges it: then it is what the upstream received. */
function asSeen(request: AccessRequest, set: PolicySet, received: string | undefined): AccessRequest {
  const { action } = request;
  if (received === undefined || action.kind !== 'http') return request;
  if (decide(set, request).decidedBy !== 'unsafe-path') return request;
  return { ...request, action: { ...action, path: received } };
}

function placesOf(set: CaseSet, address: () => string): Place[] {
  const { documents } = engine.render(set.policies, { shadow: false, workload: () => undefined });
  const compiled = compile(set.policies);
  return documents.map(({ content }) => {
    // The engine's documents have these fields; the evaluator and Envoy refuse any other shape.
    const workload = content['workload'] as SpiffeId;
    const document = content as unknown as EnvoyDocument;
    const ports = portsToOpen(compiled.workloads.get(workload)?.ports ?? [], set.requests, workload);
    return {
      workload,
      address: address(),
      set,
      compiled,
      ports: new Map(ports.map((port) => [port, servedAs(document, port)])),
    };
  });
}

/** Counts, and the cases that should not be. */
export class Result {
  readonly counts = new Map<string, number>();
  readonly faults: string[] = [];
  #next = 0;

  next(): number {
    return this.#next++;
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  fault(kind: string, seen: object): void {
    this.count(`fault: ${kind}`);
    this.faults.push(JSON.stringify({ kind, ...seen }));
  }
}
