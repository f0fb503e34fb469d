import type { Answer, Caller, Checked, RouteName } from '../../api/index.ts';
import type { Actor } from '../identity/recorder.ts';

/** One call of a route: its parts, checked, and who calls. */
export interface Call<Name extends RouteName> {
  readonly params: Checked<Name, 'params'>;
  readonly query: Checked<Name, 'query'>;
  readonly body: Checked<Name, 'body'>;
  /** Undefined where a route needs nobody. */
  readonly caller: Caller | undefined;
  /** As the audit log names it. */
  readonly who: Actor;
  /** The versions of "If-Match", one of which the document must have; undefined where anyone may change it. */
  readonly ifMatch: readonly string[] | undefined;
  /** Says the version of the document that is answered: it becomes its `ETag`. */
  readonly setVersion: (version: string) => void;
}

/** An answer that is JSON already, because it is made of parts that are kept as text. */
export class Prepared {
  /** A text, or the bytes of one. */
  readonly json: string | Uint8Array<ArrayBuffer>;
  /** Where the next page begins. */
  readonly next: string | undefined;
  /** Names the content: an answer of the same name is the same. What is long is known by it, instead of by its hash. */
  readonly name: string;

  constructor(json: Prepared['json'], next: string | undefined, name: string) {
    this.json = json;
    this.next = next;
    this.name = name;
  }
}

/** Does what a route is for. Throws what the caller is answered instead. */
export type Handler<Name extends RouteName> = (
  call: Call<Name>,
) => Answer<Name> | Prepared | Promise<Answer<Name> | Prepared>;

/** Routes that answer one document; the stream of events is apart. */
export type PlainRoute = Exclude<RouteName, 'events.stream'>;

/** The handlers of some routes. All of them together are those of every route, or it does not compile. */
export type Handlers<Names extends PlainRoute> = { readonly [Name in Names]: Handler<Name> };
