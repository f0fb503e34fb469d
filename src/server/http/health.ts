import { isInterlockError } from '../../access/index.ts';
import type { ApiParts } from '../api/parts.ts';
import { SealedVault } from '../keys/sealed-vault.ts';
import { type Timers, within } from '../timers.ts';

/** How long one check may take, milliseconds. */
const CHECK_MS = 1000;

/** One thing that the control plane needs to be of use. Throws, or never ends, where it has not got it. */
export interface HealthCheck {
  readonly name: string;
  readonly run: () => Promise<unknown>;
}

export interface Readiness {
  readonly isReady: boolean;
  /** By name: "ok", or the code of what is wrong; nothing more, since nobody has to sign in to see it. */
  readonly checks: Readonly<Record<string, string>>;
}

/** Whether the control plane can do its work now. Many who ask at once get one answer. */
export class Health {
  readonly #checks: readonly HealthCheck[];
  readonly #timers: Timers;
  #running: Promise<Readiness> | undefined;
  #isStopping = false;

  constructor(checks: readonly HealthCheck[], timers: Timers) {
    this.#checks = checks;
    this.#timers = timers;
  }

  /** From now on not ready: whoever spreads calls sends none here any more. */
  stopping(): void {
    this.#isStopping = true;
  }

  async look(): Promise<Readiness> {
    if (this.#isStopping) return { isReady: false, checks: { stopping: 'stopping' } };
    this.#running ??= this.#look().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #look(): Promise<Readiness> {
    const results = await Promise.all(
      this.#checks.map(async ({ name, run }) => [name, await this.#judge(run)] as const),
    );
    return { isReady: results.every(([, result]) => result === 'ok'), checks: Object.fromEntries(results) };
  }

  async #judge(run: () => Promise<unknown>): Promise<string> {
    const late = new TypeError('late');
    try {
      await within(run(), CHECK_MS, this.#timers, () => late);
      return 'ok';
    } catch (error) {
      if (error === late) return 'no answer';
      return isInterlockError(error) ? error.code : 'fault';
    }
  }
}

/** What a control plane needs: a store that answers, an authority that can sign, evidence that is kept, policies that it can read. */
export function healthChecks({ plane, enforcing }: Pick<ApiParts, 'plane' | 'enforcing'>): HealthCheck[] {
  const { vault } = plane.keys;
  return [
    ...(vault instanceof SealedVault ? [{ name: 'keys', run: () => vault.well() }] : []),
    { name: 'store', run: () => plane.store.documents('setting') },
    { name: 'authority', run: () => plane.authorities.signing() },
    {
      name: 'evidence',
      run: async () => {
        const fault = enforcing.evidence.fault;
        if (fault !== undefined) throw fault;
      },
    },
    {
      name: 'policies',
      run: async () => {
        enforcing.rollouts.checkAllReadable();
        enforcing.documents.checkAllReadable();
      },
    },
  ];
}
