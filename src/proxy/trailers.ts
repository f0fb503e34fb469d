/** Names as the proxy compares them: lower case, every mark as "-". */
type FoldedName = string;

/** Trailers that would change where a message ends, or who sent it (RFC 9110 section 6.5.1): of no message. */
const NEVER: ReadonlySet<FoldedName> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'connection',
  'keep-alive',
  'upgrade',
  'http2-settings',
  'proxy-connection',
  'authorization',
  'proxy-authorization',
  'cookie',
  'x-forwarded-client-cert',
]);

/** Of no request beside these: what the same section names of requests, and what programs take a caller's address from. */
const NEVER_OF_REQUESTS: ReadonlySet<FoldedName> = new Set([
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'expect',
  'forwarded',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'max-forwards',
  'origin',
  'pragma',
  'range',
  'set-cookie',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
]);
/** Longest name that is announced; longer ones are nobody's. */
export const MAX_TRAILER_NAME = 64;
const MAX_ANNOUNCED = 32;

/** Whether a trailer is one that no message may have. */
export function isForbiddenTrailer(name: FoldedName): boolean {
  return NEVER.has(name);
}

/** Of a request that announced none. */
export const NO_TRAILERS: ReadonlySet<FoldedName> = new Set();

/**
 * The trailers that a request may have: those that its head announced (`trailer`), and that would not add to what the
 * head says. Verdicts are given on the head, and some programs take trailers for fields of it: what came after the
 * verdict must not be able to be anything that the verdict was about. Names of `headers` are in lower case.
 */
export function announcedTrailers(headers: Readonly<Record<string, string>>): ReadonlySet<FoldedName> {
  const field = headers['trailer'];
  if (field === undefined) return NO_TRAILERS;
  const inHead = new Set(Object.keys(headers).map(folded));
  const names = field.split(',', MAX_ANNOUNCED).map((name) => folded(name.trim().toLowerCase()));
  return new Set(
    names.filter(
      (name) =>
        name !== '' &&
        name.length <= MAX_TRAILER_NAME &&
        !inHead.has(name) &&
        !NEVER.has(name) &&
        !NEVER_OF_REQUESTS.has(name),
    ),
  );
}

/** What a name may hold beside letters, digits and "-" (RFC 9110 section 5.6.2): CGI and PHP make one letter of them. */
const MARKS = /[^a-z0-9-]/;
const ALL_MARKS = /[^a-z0-9-]/g;

/** The name with every mark as "-": frameworks that name headers like variables cannot tell those apart. */
export function folded(name: string): FoldedName {
  return MARKS.test(name) ? name.replace(ALL_MARKS, '-') : name;
}
