import type { ChannelConfig } from './config.ts';
import type { Message } from './message.ts';
import { signedHeaders } from './sign.ts';

/** What is sent for a message. */
export interface Rendered {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Several notices of one type, in words. */
const MANY: Readonly<Record<Message['type'], string>> = {
  proposal: 'workloads with changes that are proposed',
  tightening: 'workloads with rules that nobody uses',
  question: 'workloads whose target would deny accesses of today',
  comment: 'comments',
  flip: 'accesses whose verdict the target set would change',
  promotion: 'promotions',
  demotion: 'workloads were taken back',
  fallback: 'workloads fell back by themselves',
  release: 'releases of enforcement',
  arm: 'releases have ended',
  authority: 'changes of authorities',
  'authority-expiring': 'authorities end',
  revocation: 'revocations',
  'exception-ending': 'exceptions end',
  test: 'tests',
};

/** Names in the text of one message; the rest is a number. */
const MOST_NAMED = 10;

/** One line that says what a message is about. */
export function summaryOf({ type, count, items }: Message): string {
  const [first] = items;
  return count === 1 && first !== undefined ? first.summary : `${count} ${MANY[type]}`;
}

/** A message as a channel takes it. `origin`: the console's address; no links where it is not known. */
export function render(
  { kind, secrets }: Pick<ChannelConfig, 'kind' | 'secrets'>,
  message: Message,
  { now, origin }: { readonly now: number; readonly origin: string | undefined },
): Rendered {
  if (kind === 'slack') return { headers: {}, body: JSON.stringify(slackBody(message, origin)) };
  const body = JSON.stringify(webhookBody(message, origin));
  return { headers: signedHeaders(secrets, { id: message.id, now, body }), body };
}

function linkOf(page: string | undefined, origin: string | undefined): { link?: string } {
  return origin === undefined || page === undefined ? {} : { link: `${origin}${page}` };
}

/** The body of a webhook: the same for every attempt. */
function webhookBody(message: Message, origin: string | undefined) {
  const { id, type, at, lastAt, count, items } = message;
  const [first] = items;
  return {
    id,
    type,
    at,
    subject: count === 1 ? (first?.subject ?? '') : '',
    summary: summaryOf(message),
    details: {
      count,
      lastAt,
      items: items.map(({ page, ...item }) => ({ ...item, ...linkOf(page, origin) })),
    },
    ...linkOf(count === 1 ? first?.page : pageOfMany(message), origin),
  };
}

/** Where many of a type stand together. */
function pageOfMany({ items }: Message): string | undefined {
  const page = items[0]?.page;
  return page === undefined ? undefined : `/${page.split('/')[1] ?? ''}`;
}

/**
 * The body for Slack, and for what understands the same: Block Kit, and a text for those that do not. Every name is text
 * that a stranger may have chosen, and is put where Slack makes nothing of it.
 */
function slackBody(message: Message, origin: string | undefined) {
  const { type, count, items } = message;
  const lines = items.slice(0, MOST_NAMED).map(({ summary }) => slackText(summary));
  const left = count - lines.length;
  const more = left > 0 ? [`and ${left} more`] : [];
  const head = count === 1 ? [] : [`*${count} ${MANY[type]}*`];
  const { link } = linkOf(count === 1 ? items[0]?.page : pageOfMany(message), origin);
  // Slack takes 3,000 characters in a block.
  const text = fitting([...head, ...lines, ...more], 2900).join('\n');
  return {
    text: slackText(summaryOf(message)),
    blocks: [
      { type: 'section', text: { type: 'mrkdwn', text, verbatim: true } },
      ...(link === undefined
        ? []
        : [
            {
              type: 'context',
              elements: [{ type: 'mrkdwn', text: `<${link}|Open in Interlock>`, verbatim: true }],
            },
          ]),
    ],
    // Slack's own words for: make no links, names or previews of what stands in a text.
    parse: 'none',
    link_names: false,
    unfurl_links: false,
    unfurl_media: false,
  };
}

function fitting(lines: readonly string[], most: number): string[] {
  const taken: string[] = [];
  let size = 0;
  for (const line of lines) {
    size += line.length + 1;
    if (size > most) return [...taken, '…'];
    taken.push(line);
  }
  return taken;
}

/** Stands between two characters that would mean something together, and is not seen (U+2060, word joiner). */
const JOINER = '\u2060';

/**
 * A text in which Slack, and what takes the same bodies (Mattermost, Rocket.Chat), finds neither markup nor mention nor link.
 * The three characters that Slack wants escaped (docs.slack.dev/messaging/formatting-message-text) are; what begins markup, a
 * mention or an address is parted by a character that is not seen.
 */
export function slackText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/[*_~`|[\]()!#@]/g, (sign) => `${sign}${JOINER}`)
    .replaceAll(/(?<!\bspiffe):\/\//gi, `:${JOINER}//`)
    .replaceAll(/\b(www|mailto|tel|slack)(?=[.:])/gi, `$1${JOINER}`)
    .replaceAll(/:(?=[a-z0-9_+-]+:)/gi, `:${JOINER}`);
}
