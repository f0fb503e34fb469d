import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { newMessage, withNotice } from './message.ts';
import { type Notice, plain } from './notice.ts';
import { render, slackText } from './render.ts';

const CART = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const notice = (over: Partial<Notice> = {}): Notice => ({
  type: 'proposal',
  at: 1000,
  subject: CART,
  summary: `1 change is proposed for ${CART}`,
  details: { added: 1 },
  scope: { kind: 'workload', workload: CART },
  ...over,
});
const ORIGIN = 'https://interlock.example.com';
const parts = { now: 5000, origin: ORIGIN };
const slack = (message: ReturnType<typeof newMessage>) => {
  const { body } = render({ kind: 'slack', secrets: [] }, message, parts);
  return JSON.parse(body) as { text: string; blocks: { text?: { text: string; verbatim: boolean } }[] };
};

describe('a webhook', () => {
  test('says what it is about, and where to look', () => {
    const message = newMessage('ops', notice(), 0);
    const { headers, body } = render({ kind: 'webhook', secrets: [Buffer.alloc(32)] }, message, parts);
    const link = `${ORIGIN}/review/example.org%2Fns%2Fshop%2Fsa%2Fcart`;
    expect(JSON.parse(body)).toEqual({
      id: message.id,
      type: 'proposal',
      at: 1000,
      subject: CART,
      summary: `1 change is proposed for ${CART}`,
      details: {
        count: 1,
        lastAt: 1000,
        items: [{ at: 1000, subject: CART, summary: notice().summary, details: { added: 1 }, link }],
      },
      link,
    });
    expect(headers['webhook-id']).toBe(message.id);
    expect(headers['webhook-timestamp']).toBe('5');
  });

  test('of a thousand notices is one, with their number and the first of them', () => {
    let message = newMessage('ops', notice({ type: 'flip' }), 0);
    for (let i = 1; i < 1000; i++) message = withNotice(message, notice({ type: 'flip', at: 1000 + i }));
    const { body } = render({ kind: 'webhook', secrets: [Buffer.alloc(32)] }, message, parts);
    const sent = JSON.parse(body) as { summary: string; details: { count: number; items: unknown[] } };
    expect(sent.summary).toBe('1000 accesses whose verdict the target set would change');
    expect([sent.details.count, sent.details.items.length]).toEqual([1000, 20]);
    expect(body.length).toBeLessThan(20_000);
  });

  test('has no link where nobody knows the address of the console', () => {
    const message = newMessage('ops', notice(), 0);
    const { body } = render({ kind: 'webhook', secrets: [] }, message, { now: 0, origin: undefined });
    expect(body).not.toContain('link');
  });
});

describe('a text for Slack', () => {
  test.each([
    '<!channel>',
    '<!here|here>',
    '<@U012AB3CD>',
    '<#C012AB3CD>',
    '<https://evil.example|Open in Interlock>',
    'https://evil.example',
    'HTTP://evil.example',
    'slack://evil',
    'mailto:a@evil.example',
    'www.evil.example',
    '@channel @all @here',
    '*bold* _it_ ~no~ `code` ```block```',
    '[text](https://evil.example)',
    ':rotating_light:',
    '&lt;!channel&gt;',
  ])('makes nothing of %s', (hostile) => {
    const { text, blocks } = slack(newMessage('chat', notice({ summary: `${hostile} on ${CART}` }), 0));
    const shown = blocks[0]?.text;
    expect(shown?.verbatim).toBe(true);
    for (const each of [text, shown?.text ?? '']) {
      expect(each).not.toMatch(/[<>]/);
      // Neither a mention, nor markup, nor an address, nor an emoji is left whole.
      expect(each).not.toMatch(/@\w|[*_~`[\]()][^\u2060]|[*_~`[\]()]$/);
      expect(each).not.toMatch(/(?<!spiffe):\/\/|www\.|mailto:|:[a-z_]+:/i);
      expect(each.replaceAll('\u2060', '')).toContain(
        hostile.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
      );
    }
  });

  test('shows a SPIFFE ID as it is', () => {
    expect(slackText(CART)).toBe(CART);
  });

  test('has one link, to the console, and not more than Slack takes', () => {
    let message = newMessage('chat', notice({ summary: '<'.repeat(800) }), 0);
    for (let i = 0; i < 30; i++) message = withNotice(message, notice({ summary: '<'.repeat(800) }));
    const body = JSON.stringify(slack(message));
    expect(body.match(/<http/g)).toHaveLength(1);
    expect(body).toContain(`<${ORIGIN}/review|Open in Interlock>`);
    expect(slack(message).blocks[0]?.text?.text.length).toBeLessThan(3000);
  });
});

test('a name is one line of bounded length, which nothing turns around', () => {
  expect(plain('a\nb\u0000c\u202Ed\u2028e')).toBe('a b c d e');
  expect(plain('x'.repeat(1_000_000))).toHaveLength(400);
  expect(plain(`${'x'.repeat(398)}😀😀`)).toBe(`${'x'.repeat(398)}😀😀`);
});
