import { hashBytes, marksOf } from './bytes.ts';
import type { RunKey } from './cache.ts';
import { needsClientCert, needsName } from './ends.ts';
import { type Operator, SLOT_COUNT, slotOf } from './fields.ts';
import type { Spans } from './spans.ts';

/** The callee's names as the caller wrote them: they count where {@link needsName} says so. */
const NAMES = maskOf('REQ(:AUTHORITY)', 'REQUESTED_SERVER_NAME');
const XFCC = maskOf('REQ(X-FORWARDED-CLIENT-CERT)');
/** Slots whose values, as they are, decide who calls whom and what kind of request it is. */
const WHOLE =
  NAMES |
  XFCC |
  maskOf(
    'REQ(:METHOD)',
    'PROTOCOL',
    'REQ(CONTENT-TYPE)',
    'UPSTREAM_CLUSTER',
    'UPSTREAM_HOST',
    'DOWNSTREAM_LOCAL_ADDRESS',
    'DOWNSTREAM_PEER_URI_SAN',
    'DOWNSTREAM_LOCAL_URI_SAN',
    'UPSTREAM_PEER_URI_SAN',
    'UPSTREAM_LOCAL_URI_SAN',
  );
/** Slots of which the address counts, where the caller's address decides, and not the port, unless that is 0. */
const ADDRESSES = maskOf(
  'DOWNSTREAM_REMOTE_ADDRESS',
  'DOWNSTREAM_DIRECT_REMOTE_ADDRESS',
  'UPSTREAM_LOCAL_ADDRESS',
);
/** These, and slots of which it counts whether they are there and hold a value. */
const COUNTED =
  WHOLE |
  ADDRESSES |
  maskOf(
    'REQ(:PATH)',
    'REQ(X-ENVOY-ORIGINAL-PATH)',
    'GRPC_STATUS',
    'DOWNSTREAM_TLS_VERSION',
    'UPSTREAM_TLS_VERSION',
  );
/** Bits that no slot has: a text line, a key with the caller's addresses in it. */
const TEXT_BIT = 1 << SLOT_COUNT;
const ADDRESS_BIT = 1 << (SLOT_COUNT + 1);
const QUESTION_MARKS = 0x3f3f3f3f;
const NUMBER_SIGNS = 0x23232323;

/**
 * Puts together all that decides who calls whom and what kind of request it is: lines of equal keys are alike in
 * that. Without `addresses`, that holds for lines whose ends do not rest on the caller's address.
 */
export function routeKey(key: RunKey, line: Spans, addresses: boolean): void {
  let counted = line.present & COUNTED;
  if (!needsName(line)) counted &= ~NAMES;
  if (!needsClientCert(line)) counted &= ~XFCC;
  key.begin(line.view, counted | textBit(line) | (addresses ? ADDRESS_BIT : 0), line.empty & COUNTED);
  for (let left = counted & WHOLE; left !== 0; left &= left - 1) {
    const slot = lowestBit(left);
    const start = line.start[slot] as number;
    key.add(start, (line.end[slot] as number) - start, line.hash[slot] as number);
  }
  if (addresses) addAddresses(key, line);
}

/** Puts together all that decides the name of the caller's instance, among those of calls with one number. */
export function instanceKey(key: RunKey, line: Spans, id: number): void {
  key.begin(line.view, (line.present & ADDRESSES) | textBit(line), id);
  addAddresses(key, line);
}

/** Tells the values of text lines, which may be coded in another way, from others. */
export function textBit(line: Spans): number {
  return line.json ? 0 : TEXT_BIT;
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

function addAddresses(key: RunKey, line: Spans): void {
  for (let left = line.present & ADDRESSES; left !== 0; left &= left - 1)
    addAddress(key, line, lowestBit(left));
}

/** Adds an address without its port; with it, where that is 0, which says where the address is from. */
function addAddress(key: RunKey, line: Spans, slot: number): void {
  const { bytes } = line;
  const start = line.start[slot] as number;
  let end = line.end[slot] as number;
  let p = end - 1;
  while (p > start && (bytes[p] as number) >= 0x30 && (bytes[p] as number) <= 0x39) p--;
  // What follows the last colon of a bare IPv6 address is a part of it, and no port.
  const port = bytes[p] === 0x3a && bytes[p + 1] !== 0x30;
  if (port && (bytes[p - 1] === 0x5d || !hasColon(bytes, start, p))) end = p + 1;
  key.add(start, end - start, hashBytes(line.view, start, end - start));
}

function hasColon(bytes: Uint8Array, start: number, end: number): boolean {
  for (let p = start; p < end; p++) if (bytes[p] === 0x3a) return true;
  return false;
}

/** Where the path in a slot ends: at its query, its fragment, or the value's end. */
export function pathEnd(line: Spans, slot: number): number {
  const { bytes, view } = line;
  const end = line.end[slot] as number;
  let p = line.start[slot] as number;
  for (; p + 4 <= end; p += 4) {
    const x = view.getInt32(p, true);
    if ((marksOf(x, QUESTION_MARKS) | marksOf(x, NUMBER_SIGNS)) !== 0) break;
  }
  while (p < end && bytes[p] !== 0x3f && bytes[p] !== 0x23) p++;
  return p;
}

function maskOf(...operators: Operator[]): number {
  return operators.reduce((mask, operator) => mask | (1 << slotOf(operator)), 0);
}
