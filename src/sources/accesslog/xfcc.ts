/** What the last element of an `x-forwarded-client-cert` header says: whom the nearest proxy verified. */
export interface ClientCert {
  /** URI names of the proxy's own certificate: the callee. */
  readonly by: readonly string[];
  /** URI names of the client's certificate: the caller. */
  readonly uri: readonly string[];
}

/**
 * Reads the last element of an `x-forwarded-client-cert` header, the only one that the nearest proxy wrote; the
 * ones before it are the word of whoever sent them. Elements are separated by commas, pairs by semicolons; keys
 * have no case, values may be quoted and hold `\"` (Envoy, HTTP connection manager, "x-forwarded-client-cert").
 * Undefined for a header that is not well formed.
 */
export function lastClientCert(header: string): ClientCert | undefined {
  let by: string[] = [];
  let uri: string[] = [];
  let p = 0;
  for (;;) {
    const equals = header.indexOf('=', p);
    if (equals < 0) return undefined;
    const key = header.slice(p, equals).trim().toLowerCase();
    // A separator inside a key: a pair without a value.
    if (key === '' || /[,;"]/.test(key)) return undefined;
    const value = header[equals + 1] === '"' ? quoted(header, equals + 2) : bare(header, equals + 1);
    if (value === undefined) return undefined;
    if (key === 'by') by.push(value.text);
    else if (key === 'uri') uri.push(value.text);
    p = value.end;
    if (p === header.length) return { by, uri };
    if (header[p] === ',') {
      by = [];
      uri = [];
    } else if (header[p] !== ';') return undefined;
    p++;
  }
}

interface Value {
  text: string;
  end: number;
}

function bare(header: string, from: number): Value | undefined {
  let end = from;
  while (end < header.length && header[end] !== ',' && header[end] !== ';') {
    if (header[end] === '"') return undefined;
    end++;
  }
  return { text: header.slice(from, end).trim(), end };
}

function quoted(header: string, from: number): Value | undefined {
  let text = '';
  for (let p = from; p < header.length; p++) {
    const c = header[p] as string;
    if (c === '"') return { text, end: p + 1 };
    if (c === '\\' && p + 1 < header.length) text += header[++p];
    else text += c;
  }
  return undefined;
}
