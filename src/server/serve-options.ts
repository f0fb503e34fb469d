import type { NodeAttestor, UsedTokens } from '../identity/index.ts';
import type { CanaryPlan, Gates, OwnersFile } from '../rollout/index.ts';
import type { ServerIdentity } from './agents/listener.ts';
import type { ApiParts } from './api/parts.ts';
import type { Enforcing } from './enforcement/enforcing.ts';
import type { HttpOptions, HttpServing } from './http/serve.ts';
import type { ControlPlane } from './identity/control-plane.ts';
import type { NotifyConfig } from './notify/index.ts';
import type { Place } from './place.ts';
import type { Timers } from './timers.ts';

/** Where to listen. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** The control plane that this one is a child of. */
export interface ParentAddress {
  /** HOST:PORT. */
  readonly address: string;
  /** For the first time; read then. */
  readonly joinToken?: string | (() => string) | undefined;
}

/** What happens, as sentences with fields. */
export interface ServerLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** What attestors are made from. */
export interface AttestorParts {
  readonly used: UsedTokens;
  readonly timers: Timers;
}

export interface ServeOptions {
  readonly state: string;
  /** Where the state is, if not in that directory alone; whoever opened it closes it. */
  readonly place?: Place | undefined;
  readonly listen: ListenAddress;
  /** The public HTTPS endpoints: bundle, OpenID discovery. Not served where absent. */
  readonly endpoints?:
    | (ListenAddress & {
        /** A certificate of a public authority (https_web); the own SVID (https_spiffe) where absent. */
        readonly identity?: ServerIdentity | undefined;
      })
    | undefined;
  /** API and console for people and programs; the socket in the state directory alone where absent. */
  readonly http?: HttpOptions | undefined;
  /** Where OpenTelemetry traces are sent, OTLP over HTTP; nowhere where absent. */
  readonly traces?: URL | undefined;
  /** Beside join tokens. */
  readonly attestors?: ((parts: AttestorParts) => readonly NodeAttestor[]) | undefined;
  /** PEM certificates of the authorities of https_web peers, beside the system's. */
  readonly federationCa?: readonly string[] | undefined;
  /** Makes this control plane a child authority of another one. */
  readonly parent?: ParentAddress | undefined;
  /** SPIFFE IDs (or all below one, ending in `/*`) that may enforce for every workload: node proxies. */
  readonly nodeProxies?: readonly string[] | undefined;
  /** How canaries widen; the default plan where absent. */
  readonly canary?: CanaryPlan | undefined;
  /** What promotions need; the default gates where absent. */
  readonly gates?: Gates | undefined;
  /** Whom to tell of what happens; nobody where absent. */
  readonly notify?: NotifyConfig | undefined;
  /** Who owns workloads that do not say so themselves. */
  readonly owners?: OwnersFile | undefined;
  /** How long an authority that is due waits for agents to confirm it, milliseconds; half of the time left where absent. */
  readonly patience?: number | undefined;
  /** An API answer that its schema does not describe is a fault: for tests. */
  readonly checkAnswers?: boolean | undefined;
  readonly timers: Timers;
  readonly log: ServerLog;
  readonly version: string;
}

/** A control plane that serves. */
export interface Serving {
  readonly port: number;
  readonly endpointsPort: number | undefined;
  readonly plane: ControlPlane;
  readonly enforcing: Enforcing;
  /** What the API works on. */
  readonly api: ApiParts;
  readonly http: HttpServing | undefined;
  /** Makes a link that signs the person in front of this machine in, once; undefined without HTTP. */
  readonly makeLink: (() => Promise<{ readonly url: string; readonly until: number }>) | undefined;
  /** Asks agents to come back later, ends what is under way, and closes the state. */
  close(): Promise<void>;
}
