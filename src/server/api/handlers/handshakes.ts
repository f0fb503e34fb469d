import { handshakeCoverage } from '../../enforcement/evidence/handshakes.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** In which groups connections agree their keys. */
export function handshakeHandlers({ enforcing }: ApiParts): Handlers<'handshakes.get'> {
  return {
    'handshakes.get': ({ query: { since, limit } }) => {
      const { callers, callees, ...sums } = handshakeCoverage(enforcing.evidence.handshakes, since);
      return {
        ...sums,
        callers: callers.slice(0, limit),
        callees: callees.slice(0, limit),
        isCut: callers.length > limit || callees.length > limit,
      };
    },
  };
}
