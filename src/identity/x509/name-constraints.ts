import { type DerReader, TAG } from '../der/index.ts';

/** Subtrees of one extension that are read. */
const MAX_SUBTREES = 256;

/** Names that certificates below an authority may have (RFC 5280 section 4.2.1.10), of the kinds that SVIDs have. */
export interface NameConstraints {
  readonly permitted: Subtrees;
  readonly excluded: Subtrees;
  /** Other kinds are constrained too (addresses, e-mail, names of directories): they are not read. */
  readonly hasOthers: boolean;
}

interface Subtrees {
  readonly uri: readonly string[];
  readonly dns: readonly string[];
}

/** The names of a certificate that are held against {@link NameConstraints}. */
export interface ConstrainedNames {
  readonly uriNames: readonly string[];
  readonly dnsNames: readonly string[];
}

/** Tags of GeneralName. */
const DNS_NAME = 0x82;
const URI = 0x86;

/** Reads the value of the extension. */
export function readNameConstraints(
  value: DerReader,
  textOf: (reader: DerReader) => string,
): NameConstraints {
  const inside = value.enter(TAG.sequence);
  let hasOthers = false;
  let count = 0;
  const subtrees = (tag: number): Subtrees => {
    const found = { uri: [] as string[], dns: [] as string[] };
    if (inside.peek() !== tag) return found;
    const list = inside.enter(tag);
    if (list.done) throw value.fault('a list of name constraints is empty');
    while (!list.done) {
      if (++count > MAX_SUBTREES) throw value.fault(`it has more than ${MAX_SUBTREES} name constraints`);
      const subtree = list.enter(TAG.sequence);
      const kind = subtree.next();
      if (kind === URI) found.uri.push(textOf(subtree).toLowerCase());
      else if (kind === DNS_NAME) found.dns.push(textOf(subtree).toLowerCase());
      else hasOthers = true;
      // "minimum" is 0 and left out, "maximum" is absent.
      subtree.finish();
    }
    return found;
  };
  const [permitted, excluded] = [subtrees(0xa0), subtrees(0xa1)];
  inside.finish();
  if (count === 0) throw value.fault('its name constraints are empty');
  return { permitted, excluded, hasOthers };
}

/** The first of a certificate's names that an authority's constraints do not allow. */
export function nameOutside(constraints: NameConstraints, names: ConstrainedNames): string | undefined {
  const { permitted, excluded } = constraints;
  const uri = names.uriNames.find((name) => {
    const host = hostOf(name);
    // A URI without a host matches nothing that is permitted and cannot be told from what is excluded.
    if (host === undefined) return permitted.uri.length + excluded.uri.length > 0;
    return isOutside(host, permitted.uri, excluded.uri, isUriHostWithin);
  });
  return (
    uri ??
    names.dnsNames.find((name) => isOutside(name.toLowerCase(), permitted.dns, excluded.dns, isDnsNameWithin))
  );
}

type Within = (name: string, constraint: string) => boolean;

function isOutside(
  name: string,
  permitted: readonly string[],
  excluded: readonly string[],
  isWithin: Within,
): boolean {
  if (excluded.some((constraint) => isWithin(name, constraint) || mayStandFor(name, constraint))) return true;
  return permitted.length > 0 && !permitted.some((constraint) => isWithin(name, constraint));
}

/** Of a URI: the host itself, or with a period before it any host below it and not itself. */
function isUriHostWithin(host: string, constraint: string): boolean {
  return constraint.startsWith('.') ? host.endsWith(constraint) : host === constraint;
}

/** Of a DNS name: itself and what lies below it; with a period before it, as some write it, only what lies below. */
function isDnsNameWithin(name: string, constraint: string): boolean {
  return constraint.startsWith('.')
    ? name.endsWith(constraint)
    : name === constraint || name.endsWith(`.${constraint}`);
}

/** Whether a wildcard may stand for a name in an excluded subtree that lies below its own base. */
function mayStandFor(name: string, constraint: string): boolean {
  return name.startsWith('*.') && `.${constraint}`.endsWith(name.slice(1));
}

/** The host of a URI with an authority part, in small letters. */
function hostOf(uri: string): string | undefined {
  const match = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([A-Za-z0-9._-]+)(?:\/|$)/.exec(uri);
  return match?.[1]?.toLowerCase();
}
