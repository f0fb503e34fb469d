import type { z } from 'zod';
import type { RouteName } from '../paths.ts';
import { agents, rules } from './agents.ts';
import { authorities, cutovers, federation, identities } from './authorities.ts';
import type { RouteSchema } from './common.ts';
import { controlPlane } from './control-plane.ts';
import { enforcement } from './enforcement.ts';
import { estate } from './estate.ts';
import { exceptions } from './exceptions.ts';
import { sealingKeys } from './keys.ts';
import { notifications } from './notifications.ts';
import { points } from './points.ts';
import { handshakes } from './handshakes.ts';
import { replicas } from './replicas.ts';
import { reviews } from './review.ts';
import { syncs } from './sync.ts';

/** What every route takes and gives. A route of the table without a schema does not compile. */
export const SCHEMAS = {
  ...controlPlane,
  ...replicas,
  ...estate,
  ...reviews,
  ...enforcement,
  ...points,
  ...syncs,
  ...exceptions,
  ...identities,
  ...handshakes,
  ...agents,
  ...rules,
  ...authorities,
  ...sealingKeys,
  ...cutovers,
  ...federation,
  ...notifications,
} as const satisfies { readonly [Name in RouteName]: RouteSchema };

type Schemas = typeof SCHEMAS;
type Part = 'params' | 'query' | 'body';

/** The same, and nothing in it is changed by who gets it. */
export type DeepReadonly<T> = unknown extends T
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends readonly (infer Item)[]
      ? readonly DeepReadonly<Item>[]
      : { readonly [Key in keyof T]: DeepReadonly<T[Key]> };

/** A part of a call as its handler gets it, checked; `undefined` where the route takes none. */
export type Checked<Name extends RouteName, Which extends Part> = Schemas[Name] extends {
  readonly [Key in Which]: z.ZodType<infer Output>;
}
  ? DeepReadonly<Output>
  : undefined;

/** The answer of a route. */
export type Answer<Name extends RouteName> = DeepReadonly<z.output<Schemas[Name]['answer']>>;

/** The same as JSON brings it: what is not there is absent, never undefined. */
export type Exact<T> = unknown extends T
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends readonly (infer Item)[]
      ? readonly Exact<Item>[]
      : { readonly [Key in keyof T]: Exact<Exclude<T[Key], undefined>> };

/** The answer of a route, as its caller gets it. */
export type Received<Name extends RouteName> = Exact<Answer<Name>>;

type Given<Name extends RouteName, Which extends Part> = Schemas[Name] extends {
  readonly [Key in Which]: z.ZodType<unknown, infer Input>;
}
  ? { readonly [Key in never]: never } extends Input
    ? { readonly [Key in Which]?: DeepReadonly<Input> }
    : { readonly [Key in Which]: DeepReadonly<Input> }
  : { readonly [Key in Which]?: undefined };

/** What a caller gives to a route: only the parts that it takes, and those that need nothing may be left out. */
export type CallOf<Name extends RouteName> = Given<Name, 'params'> &
  Given<Name, 'query'> &
  Given<Name, 'body'>;

export type { RouteSchema } from './common.ts';
