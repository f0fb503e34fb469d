import { randomBytes } from 'node:crypto';
import {
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { WorkloadAttributes } from '../../../identity/index.ts';
import type { discovery } from '../../../proto/index.ts';
import type { WorkloadBook, WorkloadState } from '../../workloads/workload-book.ts';
import type { ApiLog, Callers, OnNoIdentity } from '../callers.ts';
import { failureFields, faultOf, withoutSvids } from '../status.ts';
import { DeltaSubscription } from './delta.ts';
import type { Subscription } from './subscription.ts';
import { WholeSubscription } from './whole.ts';

/** What SDS is served from. */
export interface SdsParts {
  readonly callers: Callers;
  readonly workloads: WorkloadBook;
  readonly log: ApiLog;
  readonly onNoIdentity: OnNoIdentity;
}

/** Envoy's secret discovery service, v3: state of the world, delta and single requests. */
export function sdsApi(parts: SdsParts): UntypedServiceImplementation {
  const nonce = () => randomBytes(4).toString('hex');
  return {
    streamSecrets: (call: ServerDuplexStream<discovery.DiscoveryRequest, discovery.DiscoveryResponse>) =>
      serve(parts, call, 'StreamSecrets', new WholeSubscription(nonce)),
    deltaSecrets: (
      call: ServerDuplexStream<discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse>,
    ) => serve(parts, call, 'DeltaSecrets', new DeltaSubscription(nonce)),
    fetchSecrets: (
      call: ServerUnaryCall<discovery.DiscoveryRequest, discovery.DiscoveryResponse>,
      answer: sendUnaryData<discovery.DiscoveryResponse>,
    ) => {
      parts.callers
        .attributesOf(call)
        .then((attributes) => fetchOnce(parts, attributes, call.request))
        .then(
          (response) => answer(null, response),
          (error: unknown) => answer(faultOf(error)),
        );
    },
  };
}

function serve<Request, Response>(
  { callers, workloads, log, onNoIdentity }: SdsParts,
  call: ServerDuplexStream<Request, Response>,
  method: string,
  subscription: Subscription<Request, Response>,
): void {
  let state: WorkloadState | undefined;
  let who: WorkloadAttributes | undefined;
  let unsubscribe: (() => void) | undefined;
  let asked = false;
  let over = false;
  let blocked = false;
  const stop = () => {
    over = true;
    unsubscribe?.();
  };
  const fail = (error: unknown) => {
    if (over) return;
    stop();
    const failed = faultOf(error);
    log.warn(failureFields(method, call.getPeer(), error), failed.details);
    call.emit('error', failed);
  };
  const push = () => {
    // Nothing is computed for a proxy that has not read the last answer: it gets the newest state after it.
    if (over || blocked || !asked || state === undefined) return;
    try {
      callers.assertAlive(call);
      if (state.svids.length === 0 && state.missing !== 'waiting') {
        if (state.missing === 'none' && who !== undefined) onNoIdentity(callers.pidOf(call), who);
        throw withoutSvids(state.missing);
      }
      const response = subscription.response(state);
      if (response === undefined || call.write(response)) return;
      blocked = true;
      call.once('drain', () => {
        blocked = false;
        push();
      });
    } catch (error) {
      fail(error);
    }
  };
  call.on('data', (request: Request) => {
    if (over) return;
    try {
      const refusal = subscription.request(request);
      if (refusal !== undefined) log.warn({ method, peer: call.getPeer() }, `the proxy refused: ${refusal}`);
      asked = true;
    } catch (error) {
      return fail(error);
    }
    push();
  });
  call.on('end', () => {
    stop();
    call.end();
  });
  call.on('cancelled', stop);
  call.on('error', stop);
  const begin = async () => {
    who = await callers.attributesOf(call);
    if (over) return;
    const end = workloads.subscribe(who, (next) => {
      state = next;
      push();
    });
    if (over) end();
    else unsubscribe = end;
  };
  begin().catch(fail);
}

/** Waits for the workload's first state, and answers once. */
async function fetchOnce(
  { workloads }: SdsParts,
  attributes: WorkloadAttributes,
  request: discovery.DiscoveryRequest,
): Promise<discovery.DiscoveryResponse> {
  const subscription = new WholeSubscription(() => '');
  subscription.request(request);
  const state = await new Promise<WorkloadState>((resolve) => {
    let stop: (() => void) | undefined;
    let told = false;
    stop = workloads.subscribe(attributes, (next) => {
      told = true;
      stop?.();
      resolve(next);
    });
    if (told) stop();
  });
  if (state.svids.length === 0) throw withoutSvids(state.missing);
  const response = subscription.response(state);
  if (response === undefined) throw withoutSvids('waiting');
  return response;
}
