import type { CallOf, Received, RouteName } from '../../../src/api/index.ts';
import { pathOf, queryText, ROUTES } from '../../../src/api/paths.ts';

/** What the control plane refused, as it said it (RFC 9457). */
export class Refusal extends Error {
  readonly status: number;
  /** A closed code of the project; "unreachable" where nothing answered. */
  readonly code: string;
  readonly subject: string;

  constructor(status: number, code: string, detail: string, subject = '') {
    super(detail);
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
    this.subject = subject;
  }
}

/** What may be said with a call beside what its route takes. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** The version of the document that the decision was made on: another one is a `conflict`. */
  readonly ifMatch?: string | undefined;
  /** Nobody asks the same again: the browser need not keep the answer. */
  readonly isPassing?: boolean | undefined;
}

/** Calls a route of the table, and gives its answer. Throws {@link Refusal}. */
export async function call<Name extends RouteName>(
  name: Name,
  given: CallOf<Name>,
  options: CallOptions = {},
): Promise<Received<Name>> {
  // The parts that a route does not take are undefined in its type.
  const { params, query, body } = given as {
    readonly params?: Record<string, string>;
    readonly query?: Record<string, string | number | boolean | undefined>;
    readonly body?: unknown;
  };
  const path = pathOf(name, params) + queryText(query ?? {});
  // The server checks its answers against the same schemas that this type is made from.
  return (await send(ROUTES[name].method, path, { ...options, body })) as Received<Name>;
}

/** Sends one request to the control plane, and gives the JSON of its answer. Throws {@link Refusal}. */
export async function send(
  method: string,
  path: string,
  { body, signal, ifMatch, isPassing }: CallOptions & { readonly body?: unknown },
): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      credentials: 'same-origin',
      ...(isPassing === true ? { cache: 'no-store' as const } : {}),
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(ifMatch === undefined ? {} : { 'if-match': `"${ifMatch}"` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new Refusal(0, 'unreachable', 'The control plane does not answer.');
  }
  const text = await response.text();
  if (!response.ok) throw refusalOf(response.status, text);
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(
      response.status,
      'unreadable',
      `The answer (${response.status}) is not the control plane's.`,
    );
  }
}

function refusalOf(status: number, text: string): Refusal {
  try {
    const problem: unknown = JSON.parse(text);
    if (typeof problem === 'object' && problem !== null) {
      const field = (name: string) => String(Reflect.get(problem, name) ?? '');
      return new Refusal(status, field('code'), field('detail'), field('subject'));
    }
  } catch {
    // Something between us and the control plane answered in its own words.
  }
  return new Refusal(status, 'unreadable', `The answer (${status}) is not the control plane's.`);
}
