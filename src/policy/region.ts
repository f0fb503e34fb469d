import { grpcPath, type SpiffeId } from '../access/index.ts';
import { addressText, type Cidr, maskAddress, parseAddress } from './address.ts';
import { type Caller, callerContains, parseCaller } from './caller.ts';
import type { Grant } from './grants.ts';
import { matchTemplate, parseTemplate, type PathTemplate, templatesOverlap } from './template.ts';
import { endOf } from './until.ts';

/** The requests that a grant is about, in the form that two of them can be compared in. */
export interface Region {
  readonly grant: Grant;
  readonly caller: Caller;
  readonly port: number | undefined;
  /** Absent for `tcp`: opaque connections, and every request inside them. */
  readonly http: { readonly method: string | undefined; readonly path: PathTemplate | undefined } | undefined;
  /** When its rule ends, milliseconds since 1970 UTC; `Infinity` for never. */
  readonly ends: number;
}

/** Reads a grant of a checked policy. Throws TypeError for one that is not. */
export function regionOf(grant: Grant): Region {
  const caller = parseCaller(grant.from);
  if (!caller.ok) throw new TypeError(caller.reason);
  return { grant, caller: caller.caller, port: grant.port, http: httpOf(grant), ends: endOf(grant) };
}

function httpOf({ protocol, method, path, service }: Grant): Region['http'] {
  if (protocol === 'tcp') return undefined;
  if (protocol === 'http') return { method, path: path === undefined ? undefined : template(path) };
  return { method: 'POST', path: template(grpcPath(service ?? '', method ?? '{method}')) };
}

function template(text: string): PathTemplate {
  const parsed = parseTemplate(text);
  if (!parsed.ok) throw new TypeError(parsed.reason);
  return parsed.template;
}

/** Whether every request of `inner` is one of `outer`; conditions are not considered. */
export function regionContains(outer: Region, inner: Region): boolean {
  if (!callerContains(outer.caller, inner.caller)) return false;
  if (outer.port !== undefined && outer.port !== inner.port) return false;
  if (outer.http === undefined) return true;
  if (inner.http === undefined) return false;
  const [a, b] = [outer.http, inner.http];
  if (a.method !== undefined && a.method !== b.method) return false;
  if (a.path === undefined) return true;
  return b.path !== undefined && matchTemplate(a.path, b.path.text);
}

/** Whether some request is one of both. */
export function regionsOverlap(a: Region, b: Region): boolean {
  if (!callersOverlap(a.caller, b.caller)) return false;
  if (a.port !== undefined && b.port !== undefined && a.port !== b.port) return false;
  if (a.http === undefined || b.http === undefined) return true;
  const [m, n] = [a.http.method, b.http.method];
  if (m !== undefined && n !== undefined && m !== n) return false;
  return a.http.path === undefined || b.http.path === undefined || templatesOverlap(a.http.path, b.http.path);
}

/** Prefixes, trust domains and CIDRs either nest or have nothing in common. */
function callersOverlap(a: Caller, b: Caller): boolean {
  return callerContains(a, b) || callerContains(b, a);
}

/** Segments that no policy is likely to name: they stand for any other value. */
const ANY_SEGMENT = '~any';
const ANY_ID_SEGMENT = '_any_';
export const ANY_METHOD = 'ANY-METHOD';

/** Callers that stand for all of `caller`, as far as the others inside it tell them apart. */
export function sampleCallers(caller: Caller, others: readonly Caller[]): string[] {
  const inside = others.filter((other) => callerContains(caller, other));
  if (caller.kind === 'cidr') {
    const edges = [caller, ...inside].flatMap((c) => (c.kind === 'cidr' ? edgesOf(c.cidr) : []));
    return [...new Set(edges.filter((text) => isIn(caller.cidr, text)))];
  }
  return [...new Set([...inside, caller].flatMap(membersOf))];
}

function membersOf(caller: Caller): string[] {
  switch (caller.kind) {
    case 'exact':
      return [caller.id];
    case 'prefix':
      return [`${caller.prefix}${ANY_ID_SEGMENT}`];
    case 'domain':
      return [`spiffe://${caller.name}/${ANY_ID_SEGMENT}`, `spiffe://${caller.name}`];
    case 'entity':
      return [caller.name];
    default:
      return [];
  }
}

/** The first and the last address of a block, and those beside it. */
function edgesOf(cidr: Cidr): string[] {
  const width = cidr.family === 4 ? 32 : 128;
  const first = BigInt(cidr.value);
  const last = first + (1n << BigInt(width - cidr.bits)) - 1n;
  const limit = 1n << BigInt(width);
  return [first, last, first - 1n, last + 1n]
    .filter((value) => value >= 0n && value < limit)
    .map((value) =>
      addressText(cidr.family === 4 ? { family: 4, value: Number(value) } : { family: 6, value }),
    );
}

function isIn(cidr: Cidr, text: string): boolean {
  const address = parseAddress(text);
  return address?.family === cidr.family && maskAddress(address, cidr.bits) === cidr.value;
}

/** Paths that stand for all of `path`, as far as the others tell them apart. */
export function samplePaths(
  path: PathTemplate | undefined,
  others: readonly (PathTemplate | undefined)[],
): string[] {
  const found = new Set<string>();
  const own = path ?? EVERYTHING;
  for (const other of [own, ...others])
    for (const sample of common(own, other ?? EVERYTHING)) found.add(sample);
  return [...found];
}

const EVERYTHING: PathTemplate = { text: '/{rest=**}', segments: [], rest: true, names: ['rest'] };

/** Paths of both templates: of each length up to two more than both need, with and without a closing slash. */
function common(a: PathTemplate, b: PathTemplate): string[] {
  const longest = Math.max(a.segments.length, b.segments.length);
  const samples: string[] = [];
  for (let length = longest; length <= longest + 3; length++) {
    for (const end of [ANY_SEGMENT, '']) {
      const segments = Array.from({ length }, (_, i) => {
        const given = a.segments[i] ?? b.segments[i];
        return given ?? (i === length - 1 ? end : ANY_SEGMENT);
      });
      const text = `/${segments.join('/')}`;
      if (matchTemplate(a, text) && matchTemplate(b, text)) samples.push(text);
    }
  }
  return samples;
}

/** An ID or address as the principal that it is. */
export function principalOf(caller: Caller, text: string) {
  // Samples of workload callers are SPIFFE IDs by construction.
  return caller.kind === 'entity' || caller.kind === 'cidr'
    ? ({ kind: 'unauthenticated', from: text } as const)
    : ({ kind: 'workload', id: text as SpiffeId } as const);
}
