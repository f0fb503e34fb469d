/** What is no state of the control plane but a file that it is started with. */
export interface ConfigurationFile {
  readonly path: string;
  readonly what: string;
  /** The option of `interlock up` that takes it. */
  readonly option: string;
}

/** By keys at the top: all that there may be, or one that nothing else has. */
const FILES: readonly {
  readonly what: string;
  readonly option: string;
  readonly is: (keys: ReadonlySet<string>) => boolean;
}[] = [
  {
    what: 'gates',
    option: '--gates',
    is: (keys) => [...keys].every((key) => ['critical', 'standard', 'experimental', 'canary'].includes(key)),
  },
  { what: 'channels of notifications', option: '--notify', is: (keys) => keys.has('channels') },
  {
    what: 'who may sign in',
    option: '--sign-in',
    is: (keys) => keys.has('roles') || keys.has('oidc') || keys.has('tokens'),
  },
  {
    what: 'how nodes may attest',
    option: '--attestors',
    is: (keys) => ['k8s_psat', 'x509pop'].some((key) => keys.has(key)),
  },
  {
    what: 'settings of the control plane',
    option: '--config',
    is: (keys) => ['trust-domain', 'http-url', 'key-file', 'database'].some((key) => keys.has(key)),
  },
];

/** What a document without a kind is, if it is one of the files of a control plane. */
export function configurationOf(path: string, text: string): ConfigurationFile | undefined {
  const keys = new Set(
    [...text.matchAll(/^\ufeff?["']?([A-Za-z][\w-]*)["']?[ \t]*:/gm)].flatMap(([, key]) => key ?? []),
  );
  if (keys.size === 0) return undefined;
  const found = FILES.find(({ is }) => is(keys));
  return found && { path, what: found.what, option: found.option };
}

/** Files that are no YAML, by the names that people give them. */
export const OWNERS_FILE: RegExp = /^(CODE)?OWNERS(\.txt)?$/i;
