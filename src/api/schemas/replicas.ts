import { z } from 'zod';
import { type RouteSchema, time } from './common.ts';

const replica = z.strictObject({
  id: z.string().describe('Names this control plane for as long as it runs.'),
  isThis: z.boolean().describe('The one that answers.'),
  version: z.string().optional().describe('Absent, like other fields, of one that is too old to say it.'),
  startedAt: time.optional(),
  host: z.string().optional().describe('Name of its machine, as that calls itself.'),
  addresses: z
    .strictObject({
      agents: z.string().describe('Where agents and proxies connect, HOST:PORT.'),
      http: z.string().optional().describe('Where people and programs call, as a URL.'),
      endpoints: z.string().optional().describe('Where the bundle is published, HOST:PORT.'),
    })
    .optional(),
  agents: z.int().describe('Node agents that are connected to it.'),
  lastSeen: time.describe('When it last said that it is there, by the clock that all of them share.'),
  isSilent: z
    .boolean()
    .describe('It has not said so for a while, or cannot be heard: nobody knows what it does.'),
  leads: z.boolean().describe('It does what is to be done once. At most one does.'),
  leadsSince: time.optional().describe('Since when, of the one that leads.'),
  isReady: z.boolean().describe('As GET /readyz of it says; false where it is silent.'),
  checks: z
    .record(z.string(), z.string())
    .describe('By name: "ok", or the code of what is wrong; as it said last.'),
});

/** The control planes of one state. */
export const replicas = {
  'replicas.list': {
    answer: z.strictObject({
      isShared: z.boolean().describe('The state is in a database, where there can be several.'),
      replicas: z.array(replica).describe('The oldest first; those that have ended are not among them.'),
    }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
