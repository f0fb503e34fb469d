import { type Place, placeOf } from '../../place.ts';
import type { Timers } from '../../timers.ts';
import { AccessBook } from './access-book.ts';
import type { EvidenceIntake, SeenFlip } from './intake.ts';
import { LiveEvidence } from './live-evidence.ts';

export interface EvidenceOptions {
  /** Where the state is: the evidence is in the same one that `interlock observe` writes. */
  readonly state: string | Place;
  readonly trustDomain: string;
  readonly timers: Timers;
  /** Whether a flip was judged by the target set of today; all are where absent. */
  readonly isCurrent?: ((flip: SeenFlip) => boolean) | undefined;
  /** As of {@link LiveEvidence}. */
  readonly catchUp?: (() => Promise<void>) | undefined;
  readonly onFault: (error: unknown) => void;
}

/** Opens the evidence of a control plane, with what was kept of it before. Throws `state`, `io`. */
export async function openEvidence({
  state,
  trustDomain,
  timers,
  isCurrent = () => true,
  catchUp = async () => {},
  onFault,
}: EvidenceOptions): Promise<EvidenceIntake> {
  const store = await placeOf(state).openLive({ trustDomain });
  return new LiveEvidence({
    sink: store,
    kept: store.kept,
    known: new AccessBook(store.seen),
    isCurrent,
    catchUp,
    timers,
    onFault,
  });
}
