import { constants, type ServerOptions, type Settings } from 'node:http2';
import { MAX_FIELDS } from '../http1/fields.ts';
import { MAX_HEAD_BYTES } from '../http1/request-head.ts';

/**
 * What one stream may send before it is read, and so the most that is held of it, in bytes. Envoy advises 64 KiB at the
 * edge and takes 256 MiB by default; this is 100 Mbit/s over 20 ms.
 */
export const STREAM_WINDOW = 262_144;
/** The same for all streams of a connection together; what is unread of one stream does not hold up the others. */
export const CONNECTION_WINDOW = 1_048_576;

/** Streams that a caller may have open on one connection; the outbound side opens another connection for more. */
export const MAX_STREAMS = 1_000;

const SETTINGS: Settings = {
  initialWindowSize: STREAM_WINDOW,
  maxHeaderListSize: MAX_HEAD_BYTES,
  enablePush: false,
};

const COMMON = {
  // The four pseudo-fields come on top.
  maxHeaderListPairs: MAX_FIELDS + 4,
  maxSettings: 32,
  maxOutstandingPings: 10,
  /** Megabytes that one session may hold; beyond it new streams are refused. */
  maxSessionMemory: 64,
  // Fields go on as they came; what they may be is checked in our own code.
  strictSingleValueFields: false,
} as const;

/**
 * What a caller may do. A client that opens streams and resets them at once (CVE-2023-44487) costs more than it pays:
 * beyond a burst, `streamResetRate` resets a second close the connection. A page of calls that time out together is
 * within the burst.
 */
export const SERVER_OPTIONS: ServerOptions = {
  ...COMMON,
  settings: { ...SETTINGS, maxConcurrentStreams: MAX_STREAMS },
  streamResetBurst: 2 * MAX_STREAMS,
  streamResetRate: 200,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
};

/** What programs and peers may do. */
export const CLIENT_OPTIONS = {
  ...COMMON,
  // All callers of a program may share one session.
  maxSessionMemory: 256,
  settings: SETTINGS,
} as const;

/** Error codes of RFC 9113, section 7. */
export const {
  NGHTTP2_NO_ERROR: NO_ERROR,
  NGHTTP2_PROTOCOL_ERROR: PROTOCOL_ERROR,
  NGHTTP2_INTERNAL_ERROR: INTERNAL_ERROR,
  NGHTTP2_REFUSED_STREAM: REFUSED_STREAM,
  NGHTTP2_CANCEL: CANCEL,
  NGHTTP2_FLAG_END_STREAM: END_STREAM,
} = constants;
