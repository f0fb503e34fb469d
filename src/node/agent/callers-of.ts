import { InterlockError } from '../../access/index.ts';
import type { WorkloadAttributes } from '../../identity/index.ts';
import type { Call, Callers } from '../api/callers.ts';
import type { Caller, GrpcSocket } from '../socket/index.ts';

/** Who calls over a socket, which is there only once its server is served. `path`: the socket's, for errors. */
export function callersOf(
  path: string,
  socket: () => GrpcSocket | undefined,
  attributesOf: (caller: Caller) => Promise<WorkloadAttributes>,
): Callers {
  const processOf = (call: Call) => socket()?.callerOf(call).process;
  return {
    async attributesOf(call) {
      const served = socket();
      if (served === undefined) throw new InterlockError('unavailable', path, 'the agent is starting');
      return attributesOf(served.callerOf(call));
    },
    assertAlive(call) {
      const process = processOf(call);
      if (process?.alive() === true) return;
      throw new InterlockError(
        'unavailable',
        path,
        `process ${process?.pid ?? 'unknown'} has ended: what holds its connection now has to connect itself`,
      );
    },
    pidOf(call) {
      try {
        return processOf(call)?.pid;
      } catch {
        // It has gone meanwhile.
        return undefined;
      }
    },
  };
}
