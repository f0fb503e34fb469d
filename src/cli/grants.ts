import { kubernetesNameOf, spiffeIdOf } from '../access/index.ts';
import type { Difference, From, Grant } from '../policy/index.ts';

/** A caller as a rule names it, in the words of the documents. */
export function fromText(from: From): string {
  if ('workload' in from) {
    const id = spiffeIdOf(from.workload);
    const name = id === undefined ? undefined : kubernetesNameOf(id);
    return name === undefined ? from.workload : `${name.namespace}/${name.serviceAccount}`;
  }
  if ('trustDomain' in from) return `trust domain ${from.trustDomain}`;
  if ('group' in from) return `group ${from.group}`;
  if ('user' in from) return `user ${from.user.subject} of ${from.user.issuer}`;
  return `unauthenticated from ${from.unauthenticated.from}`;
}

function actionOf({ protocol, method = 'any method', path = 'any path', service, port }: Grant): string {
  const at = port === undefined ? ', any port' : ` :${port}`;
  if (protocol === 'tcp') return `tcp${at}`;
  return protocol === 'grpc' ? `${service}/${method}${at}` : `${method} ${path}${at}`;
}

/** The columns FROM, TO, ACTION and RULE of one difference. */
export function grantCells(difference: Difference): string[] {
  const { from, to, policy, rule, when, until, partly } = difference;
  const condition = when === undefined ? '' : ` when ${when}`;
  const end = until === undefined ? '' : ` until ${until}`;
  return [
    fromText(from),
    fromText({ workload: to }),
    `${actionOf(difference)}${condition}${end}${partly === true ? ' (in part)' : ''}`,
    `${policy}/${rule}`,
  ];
}

/** One difference as it is printed with --json: without the witness, which repeats it. */
export function grantJson(difference: Difference): unknown {
  return { ...difference, witness: undefined };
}
