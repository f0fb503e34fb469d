import { type CommandSpec, type CommonOptions, Option } from '../command.ts';
import { Api } from '../control/api.ts';
import { serverUrl } from '../control/reach.ts';
import { keepSignIn, readSignIns, wayIn } from '../control/sign-in.ts';
import { signInFile } from '../control/token.ts';
import { EXIT } from '../exit.ts';
import { timeText } from '../words.ts';

interface Options extends CommonOptions {
  readonly server: string;
}

const server = () =>
  new Option(
    '--server <url>',
    'the control plane: https://HOST[:PORT], or http on this machine',
  ).makeOptionMandatory();

/** `interlock sign-in`: a token for the command line, by a code that is typed in any browser. */
export const signInCommand: CommandSpec<Options> = {
  name: 'sign-in',
  summary:
    'Sign in to a control plane: it says a code, which you type at its provider in any browser. Commands with --server then use the token, which is kept for you alone and renewed.',
  options: [server()],
  example: 'interlock sign-in --server https://interlock.example.com',
  json: '{server, who, roles, until}',
  async run({ terminal }, _args, { server, state, json }) {
    const url = serverUrl(server);
    const way = await wayIn(url);
    const { signInByDevice } = await import('../control/device.ts');
    const signedIn = await signInByDevice(way, ({ url: page, direct, code }) => {
      terminal.remark(`Open ${direct ?? page} in any browser and type the code ${code}.`);
    });
    const file = signInFile();
    keepSignIn(file, url.origin, signedIn);
    const me = await new Api({ state, server }).call('me.get');
    if (json) terminal.json({ server: url.origin, who: me.who, roles: me.roles, until: signedIn.expiresAt });
    else {
      terminal.prose(`Signed in to ${url.origin} as ${me.who}: ${me.roles.join(', ')}.`);
      const until = signedIn.expiresAt === undefined ? '' : ` until ${timeText(signedIn.expiresAt)}`;
      const renewed = signedIn.refreshToken === undefined ? ', then sign in again' : ', then it is renewed';
      terminal.prose(`The token is in ${file}, good${until}${renewed}.`);
    }
    return EXIT.done.code;
  },
};

/** `interlock sign-out`. */
export const signOutCommand: CommandSpec<Options> = {
  name: 'sign-out',
  summary: 'Forget the token for a control plane, and tell the provider so.',
  options: [server()],
  example: 'interlock sign-out --server https://interlock.example.com',
  json: '{server, wasSignedIn, revoked}',
  async run({ terminal }, _args, { server, json }) {
    const { origin } = serverUrl(server);
    const file = signInFile();
    const known = readSignIns(file).get(origin);
    // Forgotten first: a provider that is away keeps nobody signed in here.
    if (known !== undefined) keepSignIn(file, origin, undefined);
    const { revoke } = await import('../control/device.ts');
    const revoked = known === undefined ? true : await revoke(known);
    if (json) terminal.json({ server: origin, wasSignedIn: known !== undefined, revoked });
    else if (known === undefined) terminal.line(`Nobody is signed in to ${origin}.`);
    else {
      terminal.line(`Signed out of ${origin}.`);
      if (!revoked) terminal.remark('The provider could not be told: its refresh token ends by itself.');
    }
    return EXIT.done.code;
  },
};
