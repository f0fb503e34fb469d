import { create } from '@bufbuild/protobuf';
import type { InterlockError } from '../../access/index.ts';
import { type ToProxy, ToProxySchema, WorkloadStateSchema } from '../../proto/proxy/index.ts';
import type { PointState } from './hub.ts';

/** A complete state as it goes to a proxy. */
export function stateMessage({ version, workloads }: PointState): ToProxy {
  return create(ToProxySchema, {
    message: {
      case: 'state',
      value: {
        version: BigInt(version),
        workloads: workloads.map(({ enforcement, bytes }) =>
          create(WorkloadStateSchema, { workload: enforcement.workload, enforcement: bytes }),
        ),
      },
    },
  });
}

/** Says that a report will never be kept. */
export function refusedMessage(sequence: bigint, { code, message }: InterlockError): ToProxy {
  return create(ToProxySchema, { message: { case: 'taken', value: { sequence, code, message } } });
}

/** Says that a report is kept. */
export function takenMessage(sequence: bigint): ToProxy {
  return create(ToProxySchema, { message: { case: 'taken', value: { sequence } } });
}
