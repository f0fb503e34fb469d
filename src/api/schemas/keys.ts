import { z } from 'zod';
import type { RouteSchema } from './common.ts';

const keyId = z.string().describe('Names a key of key files; says nothing of it.');

const sealing = z.strictObject({
  isSealed: z.boolean().describe('False where keys are files of the state directory, and none is sealed.'),
  wanted: keyId.optional().describe('The first key in the key file of the one that answers.'),
  sealing: keyId.optional().describe('The key that seals what is new.'),
  keys: z
    .array(
      z.strictObject({
        id: keyId,
        seals: z.int().describe('Private keys that it has sealed.'),
        isHere: z.boolean().describe('The key file of the one that answers holds it.'),
      }),
    )
    .describe('Those of the key file in their order, then others that something is sealed with.'),
  replicas: z
    .array(
      z.strictObject({
        id: z.string(),
        host: z.string().optional(),
        keys: z.array(keyId).optional().describe('Those in its key file; absent of one that does not say.'),
      }),
    )
    .describe('The other control planes.'),
  isDone: z.boolean().describe('Everything is sealed with the wanted key, and every control plane has that.'),
});

export const sealingKeys = {
  'sealing.get': { answer: sealing },
  'sealing.reseal': { answer: sealing.extend({ resealed: z.int() }) },
} as const satisfies Readonly<Record<string, RouteSchema>>;
