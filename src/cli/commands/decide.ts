import {
  type Action,
  InterlockError,
  parsePrincipal,
  recordedPath,
  type SpiffeId,
} from '../../access/index.ts';
import { compile, explain } from '../../policy/index.ts';
import {
  type CommandSpec,
  type CommonOptions,
  InvalidArgumentError,
  Option,
  principalOption,
  spiffeIdOption,
  timeOption,
} from '../command.ts';
import { EXIT } from '../exit.ts';
import { readPolicyDirectory } from '../policy-directory.ts';

interface Options extends CommonOptions {
  readonly from: string;
  readonly to: SpiffeId;
  readonly port: number;
  readonly method?: string;
  readonly path?: string;
  readonly header?: Readonly<Record<string, string>>;
  readonly at?: number;
}

/** `interlock decide DIR`: one verdict, and why. */
export const decideCommand: CommandSpec<Options> = {
  name: 'decide',
  args: '<dir>',
  summary:
    'Give the verdict of a policy set on one request, and the rule that decided. Exit 3 if it is denied.',
  options: [
    new Option('--from <id>', 'the caller (SPIFFE ID, or unauthenticated:ADDRESS)')
      .argParser(principalOption)
      .makeOptionMandatory(),
    new Option('--to <id>', 'the callee').argParser(spiffeIdOption).makeOptionMandatory(),
    new Option('--port <n>', "the callee's own port").argParser(portOption).makeOptionMandatory(),
    new Option('--method <m>', 'HTTP method; a gRPC call is POST'),
    new Option('--path <p>', 'request path; a gRPC call is /package.Service/Method'),
    new Option('--header <name=value>', 'a header, for conditions on it; may be repeated').argParser(
      headerOption,
    ),
    new Option(
      '--at <time>',
      'when (ISO 8601): rules that have ended by then are not there; now where absent',
    ).argParser(timeOption),
  ],
  example:
    'interlock decide policies/ --from spiffe://example.org/ns/default/sa/frontend \\\n    --to spiffe://example.org/ns/default/sa/cartservice --port 7070 \\\n    --method POST --path /hipstershop.CartService/GetCart',
  json: '{allowed, decidedBy: rule|deny|no-rule|no-policy|unsafe-path, policy?, rule?, sentence, nearest?}',
  async run({ terminal, now }, [dir = ''], options) {
    const set = compile(readPolicyDirectory(dir));
    const { from, to } = options;
    const { path, header } = options;
    const attributes = {
      ...(path === undefined ? {} : { path }),
      ...(header === undefined ? {} : { headers: header }),
    };
    const request = { from: parsePrincipal(from), to, action: actionOf(options), attributes };
    const result = explain(set, request, options.at ?? now());
    if (options.json) {
      const { verdict, ...rest } = result;
      terminal.json({ ...verdict, ...rest });
    } else {
      const { allowed } = result.verdict;
      terminal.line(terminal.paint(allowed ? 'green' : 'red', allowed ? 'ALLOW' : 'DENY'));
      terminal.prose(result.sentence);
    }
    return result.verdict.allowed ? EXIT.done.code : EXIT.found.code;
  },
};

function actionOf({ port, method, path }: Options): Action {
  if (method === undefined && path === undefined) return { kind: 'tcp', port };
  if (method === undefined || path === undefined) {
    throw new InterlockError(
      'usage',
      'decide',
      'give --method and --path together, or neither for a TCP connection',
    );
  }
  // As it is stored: without its query, and with braces that are its own, not a template's.
  return { kind: 'http', port, method, path: recordedPath(path) };
}

function headerOption(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('a header is written NAME=VALUE');
  return { ...before, [text.slice(0, at).toLowerCase()]: text.slice(at + 1) };
}

function portOption(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65535) {
    throw new InvalidArgumentError('a port is a number from 1 to 65535');
  }
  return port;
}
