import type { OutgoingHttpHeaders } from 'node:http2';
import { folded, isForbiddenTrailer } from '../trailers.ts';

/** Names and values by turns, as Node gives and takes them. */
export type FieldList = readonly string[];

/**
 * Fields of one connection (RFC 9113 section 8.2.2): they go no further. `te` is a request's only, and is looked at where
 * requests are read.
 */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set([
  'connection',
  'upgrade',
  'keep-alive',
  'http2-settings',
  'proxy-connection',
  'transfer-encoding',
]);

/** Whether a field goes no further than this hop. */
export function isHopField(name: string): boolean {
  return OF_THE_CONNECTION.has(name);
}

/** The first value of a field, by its lower-case name. */
export function valueOf(list: FieldList, name: string): string | undefined {
  for (let i = 0; i < list.length; i += 2) if (list[i] === name) return list[i + 1];
  return undefined;
}

/** The fields of an answer that go on, without pseudo-fields and those of the connection. */
export function answerFields(list: FieldList): string[] {
  const kept: string[] = [];
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string;
    if (name.charCodeAt(0) === 0x3a || OF_THE_CONNECTION.has(name) || name === 'te') continue;
    // Nobody but this proxy speaks of callers.
    if (folded(name) !== 'x-forwarded-client-cert') kept.push(name, list[i + 1] as string);
  }
  return kept;
}

/**
 * Trailers in the form that Node sends them in, or the name of the one that must not be among them. Of a request only
 * those that `announced` has; the others are left out.
 */
export function trailersOf(list: FieldList, announced?: ReadonlySet<string>): OutgoingHttpHeaders | string {
  const trailers: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string;
    if (name.charCodeAt(0) === 0x3a || isForbiddenTrailer(folded(name))) return name;
    if (announced?.has(folded(name)) !== false) (trailers[name] ??= []).push(list[i + 1] as string);
  }
  return trailers;
}

/**
 * gRPC over HTTP/2, section "Requests": `application/grpc` with a format or parameters behind it. gRPC-Web is another
 * protocol, which travels as plain HTTP.
 */
export function isGrpcType(contentType: string | undefined): boolean {
  if (contentType === undefined || !contentType.startsWith('application/grpc')) return false;
  const next = contentType.charCodeAt(16);
  return Number.isNaN(next) || next === 0x2b || next === 0x3b;
}

/** The fields in the form that Node takes where it takes no list. */
export function objectOf(list: FieldList): OutgoingHttpHeaders {
  const headers: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (let i = 0; i < list.length; i += 2) (headers[list[i] as string] ??= []).push(list[i + 1] as string);
  return headers;
}
