import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Children } from './children.ts';
import { type Plane, startPlane } from './control-plane.ts';
import { Shop } from './estate.ts';
import { makePlace, type Place, ROOT } from './place.ts';
import { type Ports, takePorts } from './ports.ts';

/** Everything that runs, and its end. */
export class Estate {
  readonly place: Place;
  readonly children: Children;
  readonly #keeper: ChildProcess;
  #ports: Ports | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(place: Place, keeper: ChildProcess) {
    this.place = place;
    this.#keeper = keeper;
    this.children = new Children(place);
  }

  /** Makes the directory, and whoever removes it and all that runs from it, should this process be killed. */
  static async open(): Promise<Estate> {
    const place = makePlace();
    const keeper = spawn(process.execPath, [join(ROOT, 'estate/keeper.ts'), place.dir], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1' },
    });
    await Promise.race([
      once(keeper, 'message'),
      once(keeper, 'exit').then(() => Promise.reject(new Error('what cleans up could not be started'))),
    ]);
    return new Estate(place, keeper);
  }

  /** Starts the control plane. */
  async startPlane(): Promise<Plane> {
    this.#ports = await takePorts();
    return startPlane(this.place, this.#ports, this.children);
  }

  /** Starts agent, proxies and programs. */
  async startShop(plane: Plane): Promise<Shop> {
    if (this.#ports === undefined) throw new Error('the control plane comes first');
    return Shop.start(this.place, this.#ports, this.children, plane);
  }

  /** Ends everything and removes the directory; the same for whoever asks again. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    await this.children.stop();
    this.#ports?.free();
    if (this.#keeper.exitCode !== null || this.#keeper.signalCode !== null) return;
    const gone = once(this.#keeper, 'exit');
    this.#keeper.disconnect();
    await gone;
  }
}
