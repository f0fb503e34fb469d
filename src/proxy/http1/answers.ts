/** What a proxy answers itself. The bodies are fixed: a caller learns nothing about rules, programs or peers. */
const REASONS: Readonly<Record<number, readonly [phrase: string, body: string]>> = {
  400: ['Bad Request', 'bad request\n'],
  403: ['Forbidden', 'access denied\n'],
  405: ['Method Not Allowed', 'method not allowed\n'],
  408: ['Request Timeout', 'request timeout\n'],
  431: ['Request Header Fields Too Large', 'request header fields too large\n'],
  502: ['Bad Gateway', 'bad gateway\n'],
  503: ['Service Unavailable', 'service unavailable\n'],
  504: ['Gateway Timeout', 'gateway timeout\n'],
  505: ['HTTP Version Not Supported', 'http version not supported\n'],
};

/** The body alone, for an answer over HTTP/2. */
export function bodyOf(status: number): string {
  return REASONS[status]?.[1] ?? 'error\n';
}

const made = new Map<string, Buffer>();

/** The whole answer. A HEAD request is sent no body; `closes` says that the connection ends after it. */
export function answer(
  status: number,
  options: { readonly isHead: boolean; readonly closes: boolean },
): Buffer {
  const key = `${status} ${options.isHead} ${options.closes}`;
  const known = made.get(key);
  if (known !== undefined) return known;
  const [phrase, body] = REASONS[status] ?? ['Error', 'error\n'];
  const bytes = Buffer.from(
    `HTTP/1.1 ${status} ${phrase}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n${
      options.closes ? 'connection: close\r\n' : ''
    }\r\n${options.isHead ? '' : body}`,
  );
  made.set(key, bytes);
  return bytes;
}
