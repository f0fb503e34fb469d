import { hashBytes } from '../accesslog/bytes.ts';
import { type Operator, slotOf } from '../accesslog/fields.ts';
import type { Spans } from '../accesslog/spans.ts';

// Istio's default text format (meshConfig.accessLogFormat, since 1.9). Nothing in it is escaped: a quote in a header
// is written as it is. These are its values before the failure reason, and after the upstream host (then, the route).
const HEAD: readonly Operator[] = [
  'RESPONSE_CODE',
  'RESPONSE_FLAGS',
  'RESPONSE_CODE_DETAILS',
  'CONNECTION_TERMINATION_DETAILS',
];
const TAIL: readonly Operator[] = [
  'UPSTREAM_CLUSTER',
  'UPSTREAM_LOCAL_ADDRESS',
  'DOWNSTREAM_LOCAL_ADDRESS',
  'DOWNSTREAM_REMOTE_ADDRESS',
  'REQUESTED_SERVER_NAME',
];
/** Quotes in a line whose values hold none: request, failure reason, XFF, agent, request id, authority, host. */
const QUOTES = 14;
const QUOTE = 0x22;
const SPACE = 0x20;
const MISFIT = "a line that does not fit Istio's default text format";

const START_TIME = slotOf('START_TIME');
const METHOD = slotOf('REQ(:METHOD)');
const PATH = slotOf('REQ(:PATH)');
const PROTOCOL = slotOf('PROTOCOL');
const RECEIVED = slotOf('BYTES_RECEIVED');
const SENT = slotOf('BYTES_SENT');
const AUTHORITY = slotOf('REQ(:AUTHORITY)');
const UPSTREAM_HOST = slotOf('UPSTREAM_HOST');
const HEAD_SLOTS = HEAD.map(slotOf);
const TAIL_SLOTS = TAIL.map(slotOf);

/** What follows the headers in a line: a quoted host, then the cluster and three addresses. */
const TAIL_SHAPE = /" "[^" ]*" \S+ (\S+:\d+|-|envoy:\S*) (\S+:\d+|-|envoy:\S*) (\S+:\d+|-|envoy:\S*) /g;

/**
 * Finds the values of a line in Istio's default text format, or gives the reason why it does not fit. Values before
 * the headers are read from the front, those behind them from the back, because a client writes what it likes into
 * its headers; a line in which a header may pass for the end of the line is refused.
 */
export function istioText(line: Spans): string | undefined {
  line.json = false;
  const bytes = line.bytes.subarray(0, line.to);
  if (bytes.includes(0)) return MISFIT;
  let quotes = 0;
  for (let p = bytes.indexOf(QUOTE); p >= 0; p = bytes.indexOf(QUOTE, p + 1)) quotes++;
  if (quotes > QUOTES) {
    const ends = bytes.toString('latin1').matchAll(TAIL_SHAPE);
    if ([...ends].length > 1) return 'quotes in a header that make the line ambiguous';
  }
  return quotes >= QUOTES && front(line, bytes) && back(line, bytes) ? undefined : MISFIT;
}

/** `[time] "METHOD path protocol" code flags details termination "reason" received sent ` */
function front(line: Spans, bytes: Buffer): boolean {
  const close = bytes.indexOf(0x5d);
  if (close < 0 || bytes[close + 1] !== SPACE || bytes[close + 2] !== QUOTE) return false;
  put(line, START_TIME, 1, close);
  let p = close + 3;
  for (const slot of [METHOD, PATH]) {
    const end = bytes.indexOf(SPACE, p);
    if (end < 0) return false;
    put(line, slot, p, end);
    p = end + 1;
  }
  const quote = bytes.indexOf(QUOTE, p);
  if (quote < 0 || bytes[quote + 1] !== SPACE) return false;
  put(line, PROTOCOL, p, quote);
  p = quote + 2;
  for (const slot of HEAD_SLOTS) {
    const end = bytes.indexOf(SPACE, p);
    if (end < 0) return false;
    put(line, slot, p, end);
    p = end + 1;
  }
  return bytes[p] === QUOTE && counts(line, bytes, p + 1);
}

/** The failure reason may hold anything but what closes it: a quote, and two numbers. */
function counts(line: Spans, bytes: Buffer, from: number): boolean {
  for (let quote = bytes.indexOf(QUOTE, from); quote >= 0; quote = bytes.indexOf(QUOTE, quote + 1)) {
    const received = quote + 2;
    const receivedEnd = digits(bytes, received);
    const sentEnd = digits(bytes, receivedEnd + 1);
    if (bytes[quote + 1] !== SPACE || receivedEnd === received || bytes[receivedEnd] !== SPACE) continue;
    if (sentEnd === receivedEnd + 1 || bytes[sentEnd] !== SPACE) continue;
    put(line, RECEIVED, received, receivedEnd);
    put(line, SENT, receivedEnd + 1, sentEnd);
    return true;
  }
  return false;
}

/** ` "authority" "host" cluster local local remote name route`, from the back. */
function back(line: Spans, bytes: Buffer): boolean {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] as number) <= SPACE) end--;
  const hostEnd = bytes.lastIndexOf(QUOTE, end);
  if (bytes[hostEnd + 1] !== SPACE) return false;
  let p = hostEnd + 2;
  for (const slot of TAIL_SLOTS) {
    const next = bytes.indexOf(SPACE, p);
    if (next < 0 || next >= end) return false;
    put(line, slot, p, next);
    p = next + 1;
  }
  // The route name is the last, and no value is left over.
  if (p >= end || bytes.subarray(p, end).includes(SPACE)) return false;
  const host = bytes.lastIndexOf(QUOTE, hostEnd - 1) + 1;
  if (host < 4 || bytes.subarray(host, hostEnd).includes(SPACE)) return false;
  if (bytes[host - 2] !== SPACE || bytes[host - 3] !== QUOTE) return false;
  put(line, UPSTREAM_HOST, host, hostEnd);
  put(line, AUTHORITY, bytes.lastIndexOf(QUOTE, host - 4) + 1, host - 3);
  return true;
}

function digits(bytes: Buffer, from: number): number {
  let p = from;
  while ((bytes[p] as number) >= 0x30 && (bytes[p] as number) <= 0x39) p++;
  return p;
}

function put(line: Spans, slot: number, start: number, end: number): void {
  let plain = true;
  for (let p = start; p < end; p++) if ((line.bytes[p] as number) >= 0x80) plain = false;
  const hash = hashBytes(line.view, start, end - start);
  if (plain) line.set(slot, start, end, hash);
  else line.setCoded(slot, start, end, hash);
}
