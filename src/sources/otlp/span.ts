import type { Emitter } from './resource.ts';
import type { Said } from './said.ts';
import type { Told } from './spots.ts';

/** SpanKind of opentelemetry/proto/trace/v1/trace.proto. */
export const KIND = { unspecified: 0, internal: 1, server: 2, client: 3, producer: 4, consumer: 5 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

/** What is kept of one span while it waits for the spans above and below it. */
export interface Span {
  /** Trace id and span id in hex, one after the other. */
  readonly key: string;
  /** The parent's key, or '' for a root. */
  readonly parent: string;
  /** Start, by the span's own clock, in milliseconds since 1970 UTC. */
  readonly at: number;
  readonly kind: Kind;
  /** The callee answered with an error: `bad`; with something else: `good`. */
  readonly code: 'none' | 'good' | 'bad';
  /** Status ERROR. */
  readonly error: boolean;
  /** An HTTP status was seen: on a client span it proves that the callee was reached. */
  readonly answered: boolean;
  readonly emitter: Emitter;
  readonly said: Said;
  /** Its parent was found. */
  joined: boolean;
  /** A span of another service, or a client span nearer to the network, stands for its call. */
  covered: boolean;
  /** The caller that a proxy verified was counted without its span: not to be counted again. */
  counted: boolean;
  /** Blind spots told of it because its parent is missing: taken back when the parent comes. */
  orphan: readonly Told[] | undefined;
  /** The same because nobody answered its call: taken back when the callee comes. */
  blind: Told | undefined;
  /** It came from an earlier command. */
  readonly carried: boolean;
}

const KINDS = new Map<unknown, Kind>(
  Object.entries(KIND).flatMap(([name, kind]): [unknown, Kind][] => [
    [kind, kind],
    [`${kind}`, kind],
    [`SPAN_KIND_${name.toUpperCase()}`, kind],
    [name.toUpperCase(), kind],
  ]),
);

/** The kind as a number, from a number or a name; what is neither is unspecified. */
export function kindOf(raw: unknown): Kind {
  return KINDS.get(raw) ?? KIND.unspecified;
}

/** Whether a span is the receiving end of a call or a message. */
export function isServing(kind: Kind): boolean {
  return kind === KIND.server || kind === KIND.consumer;
}

/** Whether its attributes describe what came in (not a call that the span's own service makes). */
export function describesIncoming(span: Span): boolean {
  return span.kind !== KIND.client && span.kind !== KIND.producer;
}

/** Whether its attributes describe what went out (not a call that the span's own service takes). */
export function describesOutgoing(span: Span): boolean {
  return !isServing(span.kind);
}
