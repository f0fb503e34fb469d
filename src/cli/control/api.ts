import { ERROR_CODES, type ErrorCode, InterlockError } from '../../access/index.ts';
import { type CallOf, pathOf, queryText, type Received, type RouteName, ROUTES } from '../../api/index.ts';
import { type Reached, reach } from './reach.ts';

/** Where a command finds the API: a control plane by URL, or the one that serves a state directory of this machine. */
export interface ApiOf {
  readonly state: string;
  readonly server?: string | undefined;
  /** Breaks calls off that are under way: they are `unavailable` then. */
  readonly signal?: AbortSignal | undefined;
}

type Plain = Exclude<RouteName, 'events.stream'>;
/** Gives nothing. */
type NoCall = { readonly [Key in never]: never };
/** A call whose parts may all be left out need not be given. */
type Given<Name extends RouteName> =
  NoCall extends CallOf<Name> ? [call?: CallOf<Name> & Conditional] : [call: CallOf<Name> & Conditional];
/** The version that a change is made on: of another one it is a `conflict`. */
interface Conditional {
  readonly ifMatch?: string;
}

/** The API of a control plane, by the names of its routes. Every call throws what it answered, or `unavailable`. */
export class Api {
  readonly #of: ApiOf;

  constructor(of: ApiOf) {
    this.#of = of;
  }

  async call<Name extends Plain>(name: Name, ...[call]: Given<Name>): Promise<Received<Name>> {
    // A part that the route does not take is undefined.
    const { params, query, body, ifMatch } = (call ?? {}) as {
      params?: Readonly<Record<string, string>>;
      query?: Readonly<Record<string, string | number | undefined>>;
      body?: object;
    } & Conditional;
    const path = `${pathOf(name, params)}${queryText(query ?? {})}`;
    // What the server answers with this status is what the schema of the route says.
    return (await this.send(ROUTES[name].method, path, body, ifMatch)) as Received<Name>;
  }

  /** A call by its method and path. Throws what it answered, or `unavailable`. */
  protected async send(method: string, path: string, body?: object, ifMatch?: string): Promise<unknown> {
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const { status, text, at } = await reach(this.#of, method, path, payload, ifMatch);
    const answer = jsonOf({ status, text, at });
    if (status === 200) return answer;
    throw problem(answer, at);
  }
}

function jsonOf({ status, text, at }: Reached): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InterlockError(
      'unavailable',
      at,
      `${at} answered ${status} with something that is not the API of a control plane: look at the address`,
      { cause },
    );
  }
}

/** What a problem says beside, for a caller to act on: the checks of a promotion, and what has the turn of a sync. */
const DETAILS: ReadonlySet<string> = new Set(['checks', 'turn']);

function problem(answer: unknown, at: string): InterlockError {
  const field = (name: string) =>
    typeof answer === 'object' && answer !== null && name in answer ? String(Reflect.get(answer, name)) : '';
  const code = field('code');
  // Object.hasOwn has just said that it is a key of the table.
  const known = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'unavailable';
  const detail = field('detail') || 'the control plane refused without a reason';
  const toDo = known === 'untrusted' ? `: interlock sign-in --server ${at}` : '';
  const given: object = typeof answer === 'object' && answer !== null ? answer : {};
  const kept = Object.entries(given).filter(([name]) => DETAILS.has(name));
  const details = kept.length === 0 ? undefined : Object.fromEntries(kept);
  return new InterlockError(known, field('subject'), `${detail}${toDo}`, { details });
}
