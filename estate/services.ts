/** How one service calls another. */
export type Protocol = 'http' | 'grpc';

/** One service calls another: how, and what it asks. `*` stands for one segment of a path; of gRPC it is the method. */
export type Call = readonly [callee: string, by: Protocol, ...asked: string[]];

/** One service of the shop: what it serves, whom it calls, and its own settings. */
export interface Service {
  readonly serves: readonly Protocol[];
  readonly calls: readonly Call[];
  /** Names of its processes, where there are several. */
  readonly instances?: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
}

export const TRUST_DOMAIN = 'shop.example';

/** What policies say of a port: the same at every start, though the real ports are others each time. */
export const POLICY_PORTS: Readonly<Record<Protocol, number>> = { http: 8080, grpc: 9090 };

/**
 * The shop. Who calls whom stands here once: configurations of programs and proxies are made from it, and the story
 * waits until each of these calls was observed. The catalogue's two names are such that a canary of half of its proxies
 * is the first one (`isInShare`).
 */
export const SERVICES: Readonly<Record<string, Service>> = {
  web: {
    serves: ['http'],
    calls: [
      ['catalogue', 'http', 'GET /products', 'GET /products/*'],
      ['recommendation', 'grpc', 'Recommend'],
      ['cart', 'http', 'POST /carts/*/items', 'GET /carts/*'],
      ['checkout', 'http', 'POST /orders'],
    ],
  },
  catalogue: { serves: ['http', 'grpc'], calls: [], instances: ['catalogue-1', 'catalogue-2'] },
  cart: { serves: ['http'], calls: [['catalogue', 'http', 'GET /products/*']] },
  checkout: {
    serves: ['http'],
    calls: [
      ['cart', 'http', 'GET /carts/*', 'DELETE /carts/*'],
      ['payment', 'http', 'POST /charges'],
      ['shipping', 'grpc', 'Quote', 'Ship'],
      ['mail', 'http', 'POST /messages'],
    ],
  },
  payment: { serves: ['http'], calls: [] },
  shipping: { serves: ['grpc'], calls: [] },
  mail: { serves: ['http'], calls: [] },
  recommendation: { serves: ['grpc'], calls: [['catalogue', 'grpc', 'ListProducts']] },
  nightly: {
    serves: [],
    calls: [
      ['catalogue', 'http', 'GET /products'],
      ['mail', 'http', 'POST /reports'],
    ],
    settings: { NIGHT_MS: '1500' },
  },
  load: {
    serves: [],
    calls: [
      ['web', 'http', 'GET /', 'GET /products/*', 'POST /carts/*/items', 'GET /carts/*', 'POST /orders'],
    ],
    settings: { SHOPPERS: '8', THINK_MS: '700' },
  },
};

/** The services that are called: those that policies protect. */
export const PROTECTED = Object.keys(SERVICES).filter((name) => (SERVICES[name]?.serves.length ?? 0) > 0);

/** The SPIFFE ID of a service. */
export const idOf = (name: string) => `spiffe://${TRUST_DOMAIN}/ns/shop/sa/${name}`;
/** The name of a service in its SPIFFE ID. */
export const nameOf = (id: string) => id.slice(id.lastIndexOf('/') + 1);

/** The names of a service's processes. */
export const instancesOf = (name: string): readonly string[] => SERVICES[name]?.instances ?? [name];
