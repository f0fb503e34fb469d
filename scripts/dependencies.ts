import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** How long the registry may take, milliseconds. */
const PATIENCE_MS = 120_000;
/** What counts: the rest is listed by "npm audit" itself. */
const GRAVE = ['high', 'critical'] as const;
/** Licences that a production dependency may have beside others that it offers (SPDX). */
const LICENCES = new Set([
  'MIT',
  'Apache-2.0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
]);

interface Locked {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly optional?: boolean;
  readonly link?: boolean;
  readonly license?: string;
  readonly integrity?: string;
  readonly resolved?: string;
}

/** What is wrong with the lock file's production dependencies, as sentences: licences, and packages without a checksum. */
export function lockFaults(lock: { readonly packages: Readonly<Record<string, Locked>> }): string[] {
  return Object.entries(lock.packages).flatMap(
    ([path, { dev, devOptional, optional, link, license, integrity, resolved }]) => {
      if (path === '' || link === true) return [];
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      const faults: string[] = [];
      // Tools of other platforms than the one that the lock file was written on have none.
      if (integrity === undefined && !(dev === true && optional === true))
        faults.push(`${name} has no checksum in package-lock.json`);
      // The checksum says what it is; from where it comes is the business of whoever installs.
      if (resolved !== undefined) faults.push(`${name} is from a fixed address: ${resolved}`);
      if (dev !== true && devOptional !== true && !isFree(license))
        faults.push(`${name} has the licence ${license ?? '(none stated)'}, which nobody has agreed to`);
      return faults;
    },
  );
}

/** Of licences to choose from one is enough; of those that hold together all count. */
function isFree(license = ''): boolean {
  const words = license.replaceAll(/[()]/g, '');
  return words.split(' OR ').some((choice) => choice.split(' AND ').every((each) => LICENCES.has(each)));
}

/** What "npm audit --json" has found, or undefined where it could not ask. */
export function auditResult(
  output: string,
): { readonly grave: number; readonly names: readonly string[] } | undefined {
  let report: unknown;
  try {
    report = JSON.parse(output);
  } catch {
    return undefined;
  }
  const { metadata, vulnerabilities = {} } = report as {
    metadata?: { vulnerabilities?: Readonly<Record<string, number>> };
    vulnerabilities?: Readonly<Record<string, { severity?: string }>>;
  };
  const counts = metadata?.vulnerabilities;
  if (counts === undefined) return undefined;
  const names = Object.entries(vulnerabilities)
    .filter(([, { severity }]) => GRAVE.some((grave) => grave === severity))
    .map(([name]) => name);
  return { grave: GRAVE.reduce((sum, severity) => sum + (counts[severity] ?? 0), 0), names };
}

/** Gives what npm prints, and what it complains of. */
function npmAudit(): Promise<{ readonly output: string; readonly complaint: string }> {
  return new Promise((resolve) => {
    execFile(
      'npm',
      ['audit', '--omit=dev', '--json', '--fetch-retries=0'],
      { timeout: PATIENCE_MS, maxBuffer: 64 * 1024 * 1024 },
      // It ends with 1 where it has found something: what it says counts.
      (error, output, complaints) => {
        const said =
          /"message": "(.+)"/.exec(output)?.[1] ??
          /audit (.+)/.exec(complaints)?.[1] ??
          error?.message.split('\n')[0] ??
          '';
        resolve({ output, complaint: said.slice(0, 200) });
      },
    );
  });
}

/** Looks at the dependencies; gives the exit code. A registry that does not answer is said, and is no fault. */
async function main(): Promise<number> {
  const faults = lockFaults(
    JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')),
  );
  for (const fault of faults) console.error(fault);
  const { output, complaint } = await npmAudit();
  const audit = auditResult(output);
  if (audit === undefined) {
    console.log(`Advisories were not looked up, the registry does not answer that from here: ${complaint}`);
  } else if (audit.grave > 0) {
    console.error(
      `Advisories of high or critical severity: ${audit.names.join(', ')}. Run "npm audit --omit=dev".`,
    );
  } else {
    console.log('No advisory of high or critical severity concerns a production dependency.');
  }
  return faults.length > 0 || (audit?.grave ?? 0) > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = await main();
