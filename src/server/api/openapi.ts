import { z } from 'zod';
import { ERROR_CODES } from '../../access/index.ts';
import { type Route, ROUTE_NAMES, type RouteName, ROUTES } from '../../api/index.ts';
import { type RouteSchema, SCHEMAS } from '../../api/schemas/index.ts';
import { SIGN_IN_PATHS } from '../sign-in/openapi.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };
interface OpenApi {
  readonly openapi: string;
  readonly [key: string]: Json;
}

let made: OpenApi | undefined;

/** The API as an OpenAPI 3.1 document, from the table of routes and the schemas that check every call. */
export function openApi(): OpenApi {
  made ??= make();
  return made;
}

function make(): OpenApi {
  const paths: Record<string, Record<string, Json>> = {};
  for (const name of ROUTE_NAMES) {
    const { path, method } = ROUTES[name];
    const templated = path.replaceAll(/:(\w+)/g, '{$1}');
    (paths[templated] ??= {})[method.toLowerCase()] = operation(name);
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Interlock',
      version: 'v1',
      description: 'The API of the control plane. The command line and the console use the same one.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ session: [] }, { bearer: [] }],
    paths: { ...paths, ...SIGN_IN_PATHS },
    components: {
      securitySchemes: {
        session: { type: 'apiKey', in: 'cookie', name: '__Host-interlock' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
      responses: { problem: problemResponse() },
      schemas: { Problem: problemSchema() },
    },
  };
}

function operation(name: RouteName): JsonObject {
  const { need, summary, isStream }: Route = ROUTES[name];
  const schema: RouteSchema = SCHEMAS[name];
  const content = { schema: jsonSchema(schema.answer, 'output') };
  const parameters = [...parametersOf(schema.params, 'path'), ...parametersOf(schema.query, 'query')];
  const takes = schema.body;
  return {
    operationId: name,
    summary,
    tags: [name.slice(0, name.lastIndexOf('.'))],
    'x-role': need,
    ...(need === 'anyone' ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(takes === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: jsonSchema(takes, 'input') } },
          },
        }),
    responses: {
      '200': {
        description: isStream === true ? 'Server-sent events; each has this as its data.' : 'Done.',
        content: { [isStream === true ? 'text/event-stream' : 'application/json']: content },
      },
      default: { $ref: '#/components/responses/problem' },
    },
  };
}

function parametersOf(schema: z.ZodObject | undefined, place: 'path' | 'query'): JsonObject[] {
  if (schema === undefined) return [];
  const { properties, required } = jsonSchema(schema, 'input');
  const isRequired = (name: string) => Array.isArray(required) && required.includes(name);
  return Object.entries(isObject(properties) ? properties : {}).map(([name, described]) => ({
    name,
    in: place,
    required: place === 'path' || isRequired(name),
    schema: described,
  }));
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    target: 'draft-2020-12',
    reused: 'inline',
    override: ({ zodSchema, jsonSchema }) => {
      // A number in a query is text that is read as one: for a reader of the document it is a number.
      if (zodSchema._zod.def.type === 'number' && io === 'input') jsonSchema.type ??= 'number';
    },
  });
  return rest as JsonObject; // JSON Schema is JSON.
}

function problemSchema(): JsonObject {
  return {
    type: 'object',
    description: 'What went wrong (RFC 9457).',
    required: ['status', 'title', 'detail', 'code', 'subject'],
    properties: {
      status: { type: 'integer' },
      title: { type: 'string' },
      detail: { type: 'string', description: 'What is wrong and what to do, for people.' },
      code: { enum: [...Object.keys(ERROR_CODES), 'fault'], description: 'What is wrong, for programs.' },
      subject: { type: 'string', description: 'The name of what it is about.' },
      checks: {
        type: 'array',
        items: { type: 'object' },
        description: 'Of a move that is refused: every check of it, as preflight.get gives them.',
      },
    },
  };
}

function problemResponse(): JsonObject {
  return {
    description: 'Not done, and why.',
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
  };
}
