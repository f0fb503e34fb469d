import type { ServerIdentity } from '../agents/listener.ts';
import type { ApiOptions } from '../api/app.ts';
import type { ApiParts } from '../api/parts.ts';
import { accessOf } from '../sign-in/access.ts';
import { BegunSignIns } from '../sign-in/begun.ts';
import type { SignInConfig } from '../sign-in/config.ts';
import type { SignInDesk } from '../sign-in/desk.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { httpApp } from './app.ts';
import { ConsoleFiles } from './console-files.ts';
import type { Health } from './health.ts';
import { listenHttp, refusePlain } from './listen.ts';
import { Names } from './names.ts';
import { TrustedProxies } from './trusted-proxies.ts';

/** Where API and console are served over HTTP. */
export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  /** PEM of a certificate, or `svid` for the control plane's own SVID. Plain HTTP where absent: loopback only. */
  readonly tls?: ServerIdentity | 'svid' | undefined;
  /** The address that people and programs use, where that is another one. */
  readonly url?: URL | undefined;
  /** With it GET /metrics is read without a sign-in. */
  readonly metricsToken?: string | undefined;
  /** Who else may sign in than by a link. */
  readonly signIn?: SignInConfig | undefined;
  /** Addresses and ranges of reverse proxies that are believed when they say whom a call is from; none where absent. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Where the console's build stands; beside the program where absent. */
  readonly consoleDir?: string | undefined;
}

export interface HttpServing {
  readonly port: number;
  /** The address for people, without a path. */
  readonly origin: string;
  readonly hasConsole: boolean;
  setIdentity(identity: ServerIdentity): void;
  close(): Promise<void>;
}

export interface HttpParts {
  readonly api: ApiParts;
  readonly desk: SignInDesk;
  /** The control plane's own SVID. */
  readonly own: ServerIdentity | undefined;
  readonly health: Health;
  /** Those of `trustedProxies`. */
  readonly proxies: TrustedProxies;
  readonly metrics: Metrics;
  readonly onRefused: (address: string, reason: string) => void;
  readonly options?: ApiOptions | undefined;
}

/** The address by which API and console would be called. Throws `usage` where they may not be served so. */
export function httpNames({ host, port, tls, url, trustedProxies }: HttpOptions): string {
  refusePlain(host, tls !== undefined);
  void new TrustedProxies(trustedProxies);
  return new Names({ host, port, isTls: tls !== undefined, url }).origin;
}

/** Serves API and console on one HTTP port. Throws `usage`, `io`. */
export async function serveHttp(http: HttpOptions, parts: HttpParts): Promise<HttpServing> {
  const { api, desk, own, health, proxies } = parts;
  const tls = http.tls === 'svid' ? own : http.tls;
  const { host, url } = http;
  const isTls = http.tls !== undefined;
  // Before the port is taken.
  httpNames(http);
  const { registry, recorder, store } = api.plane;
  const { timers } = api;
  const access = accessOf(http.signIn, { registry, timers });
  const begun = access.provider && (await BegunSignIns.open({ store, recorder, timers }));
  const listening = await listenHttp({ host, port: http.port, tls, timers, proxies });
  const { port } = listening;
  const names = new Names({ host, port, isTls, url });
  const files = new ConsoleFiles(http.consoleDir);
  desk.setOrigin(names.origin);
  const { metrics, onRefused, options } = parts;
  const { metricsToken } = http;
  listening.serve(
    httpApp({
      api,
      desk,
      names,
      port,
      console: files,
      health,
      access,
      begun,
      proxies,
      metrics,
      metricsToken,
      onRefused,
      options,
    }),
  );
  return {
    port,
    origin: names.origin,
    hasConsole: files.isBuilt,
    setIdentity: (identity) => {
      if (http.tls === 'svid') listening.setIdentity(identity);
    },
    close() {
      health.stopping();
      // Streams would keep the server from ending: their readers come back, and find another one or wait.
      api.events.close();
      return listening.close();
    },
  };
}
