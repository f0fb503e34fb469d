import type { Endpoint, Tally } from '../../access/index.ts';
import { addressOf, isAddress } from './address.ts';
import { destinationOf, incomingActionOf, operationOf, outgoingActionOf } from './call.ts';
import { databaseCall, isEmbedded } from './database.ts';
import { isServing, KIND, type Span } from './span.ts';
import type { Told } from './spots.ts';

const UNKNOWN: Endpoint = { entity: 'unknown' };

/**
 * Whether a span calls out of its service. A span that says nothing but its name counts where the name is the
 * conventions' own for a database call: such spans lose their kind and attributes in some pipelines.
 */
export function isOutgoing(span: Span): boolean {
  const { kind, said } = span;
  if (kind === KIND.client || kind === KIND.producer) return !isEmbedded(said);
  if (isServing(kind)) return false;
  const silent = said.method === undefined && said.rpcSystem === undefined && said.dbSystem === undefined;
  return silent && databaseCall(said) !== undefined;
}

/** Whether it can be answered by a span at all: databases emit none. */
export function mayBeAnswered(span: Span): boolean {
  return databaseCall(span.said) === undefined;
}

/** Whether a client span and a client span below it may be one call seen twice, by two libraries. */
export function maybeSameCall(above: Span, below: Span): boolean {
  const a = above.said.host;
  const b = below.said.host;
  // A name and an address cannot be compared, and one library may have named none.
  return a === undefined || b === undefined || a === b || isAddress(a) !== isAddress(b);
}

/** The blind spot of a call out of a service that nobody answered. */
export function unansweredOf(span: Span, tally: Tally): Told {
  const from = span.emitter.endpoint;
  const destination = destinationOf(span, undefined);
  const to = calledBy(span, tally);
  if (destination !== undefined) return { kind: 'messaging', from, to, what: destination };
  const action = outgoingActionOf(span);
  const what = databaseCall(span.said) ?? operationOf(span, action);
  // An HTTP status came from someone: the call was answered, whatever the answer.
  const failed = span.error && !span.answered;
  return {
    kind: 'client-only',
    from,
    to,
    what: failed ? `${what}, failed` : what,
    ...(action === undefined ? {} : { action }),
  };
}

function calledBy(span: Span, tally: Tally): Endpoint {
  const { host, peerIp, destinationId } = span.said;
  if (destinationId !== undefined) return { spiffeId: destinationId };
  if (host !== undefined && !isAddress(host)) {
    const namespace = span.emitter.endpoint.namespace;
    // A name without a dot is looked up in the caller's own namespace.
    return namespace === undefined || host.includes('.') ? { host } : { namespace, host };
  }
  const ip = host === undefined ? peerIp : addressOf(host);
  return ip === undefined ? UNKNOWN : tally.endpointOfIp(ip, span.at);
}

/** The blind spot of a call or message that came in from a caller outside the recording. */
export function unknownCallerOf(span: Span, tally: Tally): Told {
  const to = span.emitter.endpoint;
  const destination = destinationOf(undefined, span);
  if (destination !== undefined) return { kind: 'messaging', from: UNKNOWN, to, what: destination };
  const ip = span.said.peerIp ?? span.said.clientIp;
  const action = incomingActionOf(span);
  return {
    kind: 'unknown-caller',
    from: ip === undefined ? UNKNOWN : tally.endpointOfIp(ip, span.at),
    to,
    what: operationOf(span, action),
    ...(action === undefined ? {} : { action }),
  };
}

/** The blind spot of a span whose parent never came. */
export function missingParentOf(span: Span): Told {
  return {
    kind: 'missing-parent',
    from: UNKNOWN,
    to: span.emitter.endpoint,
    what: operationOf(span, isServing(span.kind) ? incomingActionOf(span) : undefined),
  };
}
