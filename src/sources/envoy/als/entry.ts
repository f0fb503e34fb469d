import { MAX_PATH_LENGTH } from '../../../access/index.ts';
import { LENGTH, VARINT, type Wire } from './wire.ts';

/** Longest texts that are read; longer ones are taken for absent, or for too long where that matters. */
const MAX_NAME_BYTES = 2048;
/** A path may have a long query, which is not kept; characters take up to three bytes each of UTF-8 here. */
const MAX_PATH_BYTES = 3 * MAX_PATH_LENGTH + 65_536;
const MAX_HEADER_BYTES = 256;

/** Keys of the dynamic metadata of RBAC filters, and where their values go in {@link LogEntry.verdicts}. */
export type MetadataSlots = ReadonlyMap<string, number>;

const RBAC_NAMESPACES = new Set(['envoy.filters.http.rbac', 'envoy.filters.network.rbac']);

/** What is read of one entry of `envoy.data.accesslog.v3`, HTTP or TCP. Texts that are absent are empty. */
export interface LogEntry {
  /** The caller's address, after a PROXY header, and that of its connection. */
  remote: string;
  direct: string;
  /** TLSVersion: 0 in plain text. */
  tls: number;
  /** The first URI among the names of the caller's certificate. */
  peer: string;
  /** Milliseconds since 1970 UTC; NaN where there is none. */
  startedAt: number;
  /** Milliseconds that the call or the connection took. */
  duration: number;
  hasUpstreamHost: boolean;
  upstreamCluster: string;
  /** A bit for each field number of ResponseFlags. */
  flags: number;
  termination: string;
  transportFailure: string;
  routeName: string;
  intermediate: boolean;
  /** AccessLogType. */
  logType: number;
  /** Texts of the metadata that was asked for, by slot. */
  verdicts: (string | undefined)[];
  received: number;
  sent: number;
  /** HTTPVersion and RequestMethod. */
  protocol: number;
  method: number;
  /** Undefined where it is too long. */
  path: string | undefined;
  originalPath: string | undefined;
  contentType: string;
  code: number;
  details: string;
  /** `grpc-status`, where response trailers or headers are logged. */
  grpcStatus: string;
}

function emptyEntry(): LogEntry {
  return {
    remote: '',
    direct: '',
    tls: 0,
    peer: '',
    startedAt: Number.NaN,
    duration: 0,
    hasUpstreamHost: false,
    upstreamCluster: '',
    flags: 0,
    termination: '',
    transportFailure: '',
    routeName: '',
    intermediate: false,
    logType: 0,
    verdicts: [],
    received: 0,
    sent: 0,
    protocol: 0,
    method: 0,
    path: '',
    originalPath: '',
    contentType: '',
    code: 0,
    details: '',
    grpcStatus: '',
  };
}

/** Reads the HTTPAccessLogEntry that the field at hand holds. */
export function readHttpEntry(wire: Wire, slots: MetadataSlots): LogEntry {
  const entry = emptyEntry();
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.counts(2)) entry.protocol = wire.int32();
    else if (wire.type !== LENGTH) wire.skip();
    else if (wire.field === 1) readCommon(wire, entry, slots);
    else if (wire.field === 3) readRequest(wire, entry);
    else if (wire.field === 4) readResponse(wire, entry);
    else wire.skip();
  }
  wire.leave(outer);
  return entry;
}

/** Reads the TCPAccessLogEntry that the field at hand holds. */
export function readTcpEntry(wire: Wire, slots: MetadataSlots): LogEntry {
  const entry = emptyEntry();
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.type !== LENGTH) wire.skip();
    else if (wire.field === 1) readCommon(wire, entry, slots);
    else if (wire.field === 2) readConnection(wire, entry);
    else wire.skip();
  }
  wire.leave(outer);
  return entry;
}

/** AccessLogCommon. `sample_rate` is not read: Envoy does not implement it. */
function readCommon(wire: Wire, entry: LogEntry, slots: MetadataSlots): void {
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.type === VARINT) {
      if (wire.field === 27) entry.intermediate = wire.bool();
      else if (wire.field === 33) entry.logType = wire.int32();
      else wire.skip();
      continue;
    }
    if (wire.type !== LENGTH) {
      wire.skip();
      continue;
    }
    switch (wire.field) {
      case 2:
        entry.remote = readAddress(wire);
        break;
      case 4:
        readTls(wire, entry);
        break;
      case 5:
        entry.startedAt = readTime(wire);
        break;
      case 13:
        entry.hasUpstreamHost = true;
        wire.skip();
        break;
      case 15:
        entry.upstreamCluster = wire.text(MAX_NAME_BYTES) ?? '';
        break;
      case 16:
        readFlags(wire, entry);
        break;
      case 17:
        readMetadata(wire, entry, slots);
        break;
      case 19:
        entry.routeName = wire.text(MAX_NAME_BYTES) ?? '';
        break;
      case 20:
        entry.direct = readAddress(wire);
        break;
      case 23:
        entry.duration = readTime(wire);
        break;
      case 25:
        entry.termination = wire.text(MAX_NAME_BYTES) ?? '';
        break;
      case 28:
        entry.transportFailure = wire.text(MAX_NAME_BYTES) ?? '';
        break;
      default:
        wire.skip();
    }
  }
  wire.leave(outer);
}

/** The IP address of an Address; empty for pipes and Envoy's internal listeners. */
function readAddress(wire: Wire): string {
  let address = '';
  const outer = wire.enter();
  while (wire.next()) {
    if (!wire.holds(1)) {
      // Another kind takes the place of the one before: they exclude each other.
      address = '';
      wire.skip();
      continue;
    }
    const inner = wire.enter();
    while (wire.next()) {
      if (wire.holds(2)) address = wire.text(MAX_HEADER_BYTES) ?? '';
      else wire.skip();
    }
    wire.leave(inner);
  }
  wire.leave(outer);
  return address;
}

/** Timestamp or Duration, in milliseconds. */
function readTime(wire: Wire): number {
  let seconds = 0;
  let nanos = 0;
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.counts(1)) seconds = wire.number();
    else if (wire.counts(2)) nanos = wire.int32();
    else wire.skip();
  }
  wire.leave(outer);
  return seconds * 1000 + Math.floor(nanos / 1_000_000);
}

function readTls(wire: Wire, entry: LogEntry): void {
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.counts(1)) entry.tls = wire.int32();
    else if (wire.holds(5)) readPeer(wire, entry);
    else wire.skip();
  }
  wire.leave(outer);
}

/** CertificateProperties: an X509-SVID has one URI (SPIFFE X509-SVID, section 2). */
function readPeer(wire: Wire, entry: LogEntry): void {
  const outer = wire.enter();
  while (wire.next()) {
    if (!wire.holds(1)) {
      wire.skip();
      continue;
    }
    const inner = wire.enter();
    while (wire.next()) {
      if (wire.holds(1) && entry.peer === '') entry.peer = wire.text(MAX_NAME_BYTES) ?? '';
      else wire.skip();
    }
    wire.leave(inner);
  }
  wire.leave(outer);
}

function readFlags(wire: Wire, entry: LogEntry): void {
  const outer = wire.enter();
  while (wire.next()) {
    // 13 is a message whose presence says it; no flag has a number above 30 that is read.
    if (wire.field > 30) wire.skip();
    else if (wire.type === VARINT) entry.flags = wire.bool() ? entry.flags | (1 << wire.field) : entry.flags;
    else {
      entry.flags |= 1 << wire.field;
      wire.skip();
    }
  }
  wire.leave(outer);
}

/** Metadata.filter_metadata of the RBAC filters: a map of name to Struct, which is a map of key to Value. */
function readMetadata(wire: Wire, entry: LogEntry, slots: MetadataSlots): void {
  const outer = wire.enter();
  while (wire.next()) {
    if (!wire.holds(1)) {
      wire.skip();
      continue;
    }
    let isRbac = false;
    const inner = wire.enter();
    while (wire.next()) {
      if (wire.holds(1)) isRbac = RBAC_NAMESPACES.has(wire.text(MAX_HEADER_BYTES) ?? '');
      else if (wire.holds(2) && isRbac) readStruct(wire, entry, slots);
      else wire.skip();
    }
    wire.leave(inner);
  }
  wire.leave(outer);
}

function readStruct(wire: Wire, entry: LogEntry, slots: MetadataSlots): void {
  const outer = wire.enter();
  while (wire.next()) {
    if (!wire.holds(1)) {
      wire.skip();
      continue;
    }
    let slot: number | undefined;
    const inner = wire.enter();
    while (wire.next()) {
      if (wire.holds(1)) slot = slots.get(wire.text(MAX_HEADER_BYTES) ?? '');
      else if (wire.holds(2) && slot !== undefined) entry.verdicts[slot] = readString(wire);
      else wire.skip();
    }
    wire.leave(inner);
  }
  wire.leave(outer);
}

/** The text of a Value; undefined for one of another kind. */
function readString(wire: Wire): string | undefined {
  let text: string | undefined;
  const outer = wire.enter();
  while (wire.next()) {
    text = undefined;
    if (wire.holds(3)) text = wire.text(MAX_NAME_BYTES);
    else wire.skip();
  }
  wire.leave(outer);
  return text;
}

function readConnection(wire: Wire, entry: LogEntry): void {
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.counts(1)) entry.received = wire.number();
    else if (wire.counts(2)) entry.sent = wire.number();
    else wire.skip();
  }
  wire.leave(outer);
}

/** HTTPRequestProperties. */
function readRequest(wire: Wire, entry: LogEntry): void {
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.counts(1)) entry.method = wire.int32();
    else if (wire.counts(12)) entry.received = wire.number();
    else if (wire.type !== LENGTH) wire.skip();
    else if (wire.field === 5) entry.path = wire.text(MAX_PATH_BYTES);
    else if (wire.field === 10) entry.originalPath = wire.text(MAX_PATH_BYTES);
    else if (wire.field === 13) readHeader(wire, 'content-type', (value) => (entry.contentType = value));
    else wire.skip();
  }
  wire.leave(outer);
}

/** HTTPResponseProperties. */
function readResponse(wire: Wire, entry: LogEntry): void {
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.counts(3)) entry.sent = wire.number();
    else if (wire.type !== LENGTH) wire.skip();
    else if (wire.field === 1) entry.code = readWrapped(wire);
    else if (wire.field === 4 || wire.field === 5)
      readHeader(wire, 'grpc-status', (value) => (entry.grpcStatus = value));
    else if (wire.field === 6) entry.details = wire.text(MAX_NAME_BYTES) ?? '';
    else wire.skip();
  }
  wire.leave(outer);
}

/** UInt32Value. */
function readWrapped(wire: Wire): number {
  let value = 0;
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.counts(1)) value = wire.number();
    else wire.skip();
  }
  wire.leave(outer);
  return value;
}

/** One entry of a map of texts: its value, where the key is the one looked for. */
function readHeader(wire: Wire, name: string, take: (value: string) => void): void {
  let found = false;
  let value = '';
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.holds(1)) found = wire.text(MAX_HEADER_BYTES) === name;
    else if (wire.holds(2)) value = wire.text(MAX_HEADER_BYTES) ?? '';
    else wire.skip();
  }
  wire.leave(outer);
  if (found) take(value);
}
