import { InterlockError } from '../../access/index.ts';
import { isParameter, isRest, segmentsOf } from './matcher.ts';

/** Most paths that are taken from one OpenAPI document. */
export const MAX_DOCUMENT_PATHS = 10_000;
const SUBJECT = 'OpenAPI document';

/**
 * The path templates of an OpenAPI 3 or Swagger 2 document that was parsed already, with the path of its first
 * server (`servers[0].url`, `basePath`) in front, sorted. A segment that mixes text and variables
 * (`{name}.{ext}`) becomes one variable, because a template has whole segments only. Throws `invalid_document`
 * where there is no `paths` object, `limit` beyond {@link MAX_DOCUMENT_PATHS}.
 */
export function openApiTemplates(document: unknown): string[] {
  const paths = isObject(document) ? document['paths'] : undefined;
  if (!isObject(document) || !isObject(paths)) {
    throw new InterlockError(
      'invalid_document',
      SUBJECT,
      'the document has no "paths" object: is it an OpenAPI document?',
    );
  }
  const keys = Object.keys(paths).filter((key) => key.startsWith('/'));
  if (keys.length > MAX_DOCUMENT_PATHS) {
    throw new InterlockError(
      'limit',
      SUBJECT,
      `the document has ${keys.length} paths; at most ${MAX_DOCUMENT_PATHS} are read`,
    );
  }
  const base = basePathOf(document);
  return [...new Set(keys.map((key) => templateOfDocument(base + key)))].sort();
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function basePathOf(document: Record<string, unknown>): string {
  let base = '';
  if (typeof document['basePath'] === 'string') base = document['basePath'];
  else if (Array.isArray(document['servers'])) {
    const first: unknown = document['servers'][0];
    const url = isObject(first) && typeof first['url'] === 'string' ? first['url'] : '';
    base = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '').replace(/[?#].*$/, '');
  }
  base = base.replace(/\/+$/, '');
  return base === '' || base.startsWith('/') ? base : `/${base}`;
}

function templateOfDocument(path: string): string {
  const used: string[] = [];
  const segments = segmentsOf(path).map((segment) => {
    if (!segment.includes('{') && !segment.includes('}')) return segment;
    const name =
      isParameter(segment) || isRest(segment) ? segment.slice(1, -1).replace('=**', '') : variableOf(segment);
    let unique = name;
    for (let i = 2; used.includes(unique); i++) unique = `${name}${i}`;
    used.push(unique);
    return `{${unique}}`;
  });
  return `/${segments.join('/')}`;
}

/** A name for a segment that is not just `{name}`: the first variable's, in letters that a template takes. */
function variableOf(segment: string): string {
  const inner = /\{([^{}]*)\}/.exec(segment)?.[1] ?? '';
  const name = inner.replace(/\W+/g, '_').replace(/^[^A-Za-z]+/, '');
  return name === '' ? 'value' : name;
}
