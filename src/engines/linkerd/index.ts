import type { AccessPolicy } from '../../policy/index.ts';
import { withoutEnds } from '../ends.ts';
import type { Engine, EngineDocument, RenderOptions, Rendering } from '../engine.ts';
import { callersMeet, type Grant, isWhole, onPort, protectedGrants } from '../grants.ts';
import { Losses } from '../losses.ts';
import { type Place, placesOf, tellAll } from '../places.ts';
import { SharedLabels } from '../shared-labels.ts';
import { Callers } from './callers.ts';
import { clientsOf } from './clients.ts';
import { routeDocuments, serverAuthorizations, serverDocument } from './documents.ts';
import { routesOf } from './routes.ts';

/**
 * Policies -> a Server for each port of a protected workload, HTTPRoutes for its requests, and what authorizes
 * them. Identities are those of service accounts. Linkerd matches paths as they are sent, so the patterns hold
 * paths in normal form only. In shadow the Servers have `accessPolicy: audit`, which lets through what no
 * authorization allows, and says so in log and metrics.
 */
export const engine: Engine = {
  name: 'linkerd',

  render(given: readonly AccessPolicy[], options: RenderOptions): Rendering {
    const losses = new Losses();
    const policies = withoutEnds(given, options.at, losses);
    const all = protectedGrants(policies);
    const shared = new SharedLabels(all, options);
    const documents = placesOf(all, options, losses).flatMap((place) => {
      shared.tellProtected(place.workload, losses);
      return documentsOf(place, options, losses);
    });
    return { documents, losses: losses.list() };
  },
};

function documentsOf(place: Place, options: RenderOptions, losses: Losses): EngineDocument[] {
  const { workload } = place;
  const known = options.workload(workload.id)?.ports.map(({ port }) => port) ?? [];
  const ports = [...new Set([...workload.ports, ...known])].toSorted((a, b) => a - b);
  const callers = new Callers(workload, options, losses);
  tellPorts(place, ports, losses);
  for (const grant of [...workload.allow, ...workload.deny])
    tellCondition(grant, workload.deny.includes(grant), losses);
  return ports.flatMap((port) => portDocuments(place, port, callers, options.shadow, losses));
}

function portDocuments(
  place: Place,
  port: number,
  callers: Callers,
  shadow: boolean,
  losses: Losses,
): EngineDocument[] {
  const { workload } = place;
  const denied = workload.deny.filter((grant) => onPort(grant, port));
  const closed = denied.filter((grant) => isWhole(grant, true));
  const partial = denied.filter((grant) => !isWhole(grant, true));
  const allow = workload.allow.filter((grant) => onPort(grant, port) && !grant.conditional);
  const requests = allow.filter((grant) => !isWhole(grant, false));
  // A deny rule about requests closes connections whose requests cannot be seen: such callers get routes only.
  const isRouted = (grant: Grant) => partial.some(({ caller }) => callersMeet(caller, grant.caller));
  const whole = allow.filter((grant) => isWhole(grant, false));
  const routed = whole.filter(isRouted);
  const onServer = clientsOf(
    whole.filter((grant) => !isRouted(grant)),
    closed,
    callers,
    losses,
  );
  const opaque = requests.length + routed.length === 0;
  const server = [
    serverDocument(place, port, opaque, shadow),
    ...serverAuthorizations(place, port, onServer),
  ];
  if (opaque) return server;
  // What a deny rule closes altogether it also closes in every route.
  const routes = routesOf({ requests, whole: routed, denied: [...partial, ...closed] }, callers, losses);
  tellRoutes(place, losses);
  return [...server, ...routeDocuments(place, port, routes)];
}

function tellCondition(grant: Grant, isDeny: boolean, losses: Losses): void {
  if (!grant.conditional) return;
  const what = isDeny
    ? 'Linkerd carries no conditions: what the rule denies under one is denied always.'
    : 'Linkerd carries no conditions: the rule, which has one, is left out.';
  losses.add('narrower', 'condition', grant, what);
}

function tellPorts({ workload }: Place, ports: readonly number[], losses: Losses): void {
  const what =
    'Linkerd restricts the ports that have a Server; all others follow the default inbound policy: annotate the pods with config.linkerd.io/default-inbound-policy: deny, or they stay open.';
  tellAll(workload, losses, 'wider', 'other-ports', what);
  for (const grant of workload.allow) {
    if (grant.target.ports !== undefined) continue;
    const which = ports.length === 0 ? 'none is known' : ports.join(', ');
    losses.add(
      'narrower',
      'any-port',
      grant,
      `A Server is about one port: the rule holds for the ports that are known (${which}).`,
    );
  }
  if (ports.length > 0) return;
  const none = `No port of ${workload.id} is known, and a Server needs one: nothing is written for it.`;
  tellAll(workload, losses, 'wider', 'no-ports', none);
}

function tellRoutes({ workload }: Place, losses: Losses): void {
  const normal =
    'Linkerd matches paths as they are sent: a request whose path is not in normal form ("//", "/../", needless escapes) is denied.';
  tellAll(workload, losses, 'narrower', 'no-normalization', normal);
  const probes =
    "A port with routes no longer lets the kubelet's HTTP probes in by itself: add an HTTPRoute for their paths, or probe another port.";
  tellAll(workload, losses, 'narrower', 'probes', probes);
}
