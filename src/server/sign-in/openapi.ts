type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };

const PROBLEM: JsonObject = { $ref: '#/components/responses/problem' };
const TEXT: JsonObject = { type: 'string' };

function object(properties: JsonObject, required: readonly string[] = Object.keys(properties)): JsonObject {
  return { type: 'object', properties, required, additionalProperties: false };
}

function operation(name: string, summary: string, answer: JsonObject, more: JsonObject = {}): JsonObject {
  return {
    operationId: `sign-in.${name}`,
    summary,
    tags: ['sign-in'],
    'x-role': 'anyone',
    security: [],
    ...more,
    responses: { ...answer, default: PROBLEM },
  };
}

function done(schema: JsonObject): JsonObject {
  return { '200': { description: 'Done.', content: { 'application/json': { schema } } } };
}

function leads(to: string): JsonObject {
  return { '303': { description: to, headers: { Location: { schema: TEXT } } } };
}

function inQuery(name: string, description: string): JsonObject {
  return { name, in: 'query', required: false, schema: { ...TEXT, description } };
}

/** How people sign in and out, for the OpenAPI document: paths to methods to operations. They are apart from the table of routes. */
export const SIGN_IN_PATHS: { readonly [path: string]: { readonly [method: string]: JsonObject } } = {
  '/v1/sign-in': {
    get: operation(
      'ways',
      'The ways in: links, the provider of people, the client of the command line.',
      done(
        object(
          {
            link: { const: true },
            oidc: object({ issuer: TEXT, name: TEXT, begin: TEXT }),
            cli: object({ issuer: TEXT, clientId: TEXT, scopes: { type: 'array', items: TEXT } }),
          },
          ['link'],
        ),
      ),
    ),
  },
  '/v1/sign-in/link': {
    post: operation(
      'link',
      'A session, as a cookie, for the secret behind the "#" of a link; 429 after many failures.',
      done(object({ until: { type: 'number', description: 'Milliseconds since 1970 UTC.' } })),
      {
        requestBody: {
          required: true,
          content: {
            'application/json': { schema: object({ secret: { type: 'string', maxLength: 200 } }) },
          },
        },
      },
    ),
  },
  '/v1/sign-in/oidc': {
    get: operation('begin', 'Leads a browser to the provider.', leads('To the provider.'), {
      parameters: [inQuery('to', 'A path of this server that the browser is led to in the end.')],
    }),
  },
  '/v1/sign-in/oidc/callback': {
    get: operation(
      'arrive',
      'Where the provider leads back to.',
      leads('To the path that was asked for, with a session; or to the page for signing in, with a fault.'),
      {
        parameters: [
          inQuery('code', 'As OpenID Connect has it.'),
          inQuery('state', 'As OpenID Connect has it.'),
          inQuery('error', 'As OpenID Connect has it.'),
        ],
      },
    ),
  },
  '/v1/sign-out': {
    post: operation('out', 'Ends the session of the browser.', done(object({ signedOut: { const: true } }))),
  },
};
