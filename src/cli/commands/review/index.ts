import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import { readPolicies } from '../../../policy/index.ts';
import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { distanceText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { readText } from '../../files.ts';
import { plural } from '../../words.ts';
import { historyText } from './history-text.ts';
import {
  approvalText,
  type DecideOptions,
  idsOf,
  look,
  REASON,
  TARGET,
  tellReview,
  WHOLE_JSON,
} from './shown.ts';

const list: CommandSpec<ApiOptions> = {
  name: 'review list',
  summary:
    'List the workloads with changes, doubts or questions to decide, or with a target that waits for approval.',
  options: [SERVER],
  example: 'interlock review list',
  json: '{reviews: [{workload, tier, stage?, owners, target, counts: {added, widened, removed, doubts, question}, approvals, since?}]}',
  async run({ terminal, now }, _args, { state, server, json }) {
    const shown = await new Api({ state, server }).call('reviews.list');
    if (json) terminal.json(shown);
    else if (shown.reviews.length === 0) terminal.line('Nothing to decide.');
    else
      terminal.listing([
        ['WORKLOAD', 'TIER', 'STAGE', 'NEW', 'UNUSED', 'DOUBTS', 'QUESTIONS', 'APPROVALS', 'SINCE', 'OWNERS'],
        ...shown.reviews.map(({ workload, tier, stage, counts, approvals, since, owners }) => [
          workload,
          tier,
          stage ?? '-',
          String(counts.added + counts.widened),
          String(counts.removed),
          String(counts.doubts),
          String(counts.question),
          stage === undefined ? '-' : `${approvals.by.length} of ${approvals.need}`,
          since === undefined ? '-' : distanceText(since, now()),
          owners.join(', ') || '-',
        ]),
      ]);
    return EXIT.done.code;
  },
};

const show: CommandSpec<ApiOptions & { readonly yaml?: true }> = {
  name: 'review show',
  args: '<workload>',
  summary:
    'Show what is open about one workload: each change with its evidence, questions, comments, approvals.',
  options: [
    SERVER,
    new Option('--yaml', 'print the target set, to be edited: "interlock review edit" takes it back'),
  ],
  example: 'interlock review show spiffe://example.org/ns/shop/sa/cart',
  json: WHOLE_JSON,
  async run({ terminal }, [id = ''], options) {
    const { review } = await look(options, id);
    if (options.json) terminal.json(review);
    else if (options.yaml) terminal.out.write(`# target: ${review.target}\n${review.yaml}`);
    else tellReview(terminal, review);
    return EXIT.done.code;
  },
};

const approve: CommandSpec<DecideOptions & { readonly all?: true }> = {
  name: 'review approve',
  args: '<workload> [change...]',
  summary:
    'Make changes of the target set of a workload, and approve the target that comes of it for its promotion. Without a change, approve the target as it is.',
  options: [SERVER, new Option('--all', 'all changes that are not in doubt'), TARGET],
  example: 'interlock review approve spiffe://example.org/ns/shop/sa/cart --all',
  json: WHOLE_JSON,
  async run({ terminal }, [id = '', ...texts], options) {
    const { api, workload, review } = await look(options, id);
    const ordinary = review.changes.filter(({ doubt }) => doubt === undefined);
    const named = idsOf(texts, review.changes);
    const changes = options.all ? [...new Set([...ordinary.map((each) => each.id), ...named])] : named;
    if (options.all && changes.length === 0)
      throw new InterlockError(
        'not_found',
        workload,
        `no change of ${workload} is open that is not in doubt`,
      );
    const body = { target: options.target ?? review.target, changes };
    const done = await api.call('reviews.approve', { params: { workload }, body });
    if (options.json) terminal.json(done);
    else {
      terminal.prose(
        changes.length === 0 ? 'Approved as it is.' : `Approved: ${plural(changes.length, 'change')}.`,
      );
      terminal.prose(`target ${done.target}: ${approvalText(done)}.`);
    }
    return EXIT.done.code;
  },
};

const reject: CommandSpec<DecideOptions & { readonly reason: string }> = {
  name: 'review reject',
  args: '<workload> <item...>',
  summary:
    'Reject changes, or close questions: they stay denied, and are not proposed again until they rest on ten times the calls, seven more days, or several instances.',
  options: [SERVER, REASON, TARGET],
  example: 'interlock review reject spiffe://example.org/ns/shop/sa/cart 1f2e3d4c --reason "a scanner"',
  json: WHOLE_JSON,
  async run({ terminal }, [id = '', ...texts], options) {
    const { api, workload, review } = await look(options, id);
    const items = idsOf(texts, [...review.changes, ...review.questions]);
    const body = { target: options.target ?? review.target, items, reason: options.reason };
    const done = await api.call('reviews.reject', { params: { workload }, body });
    if (options.json) terminal.json(done);
    else terminal.line(`Rejected: ${items.length}.`);
    return EXIT.done.code;
  },
};

const deny: CommandSpec<DecideOptions & { readonly reason: string }> = {
  name: 'review deny',
  args: '<workload> <question...>',
  summary: 'Answer questions with rules that deny on purpose: they hold no promotion up any more.',
  options: [SERVER, REASON, TARGET],
  example: 'interlock review deny spiffe://example.org/ns/shop/sa/cart 1f2e3d4c --reason "no longer offered"',
  json: WHOLE_JSON,
  async run({ terminal }, [id = '', ...texts], options) {
    const { api, workload, review } = await look(options, id);
    const questions = idsOf(texts, review.questions);
    const body = { target: options.target ?? review.target, questions, reason: options.reason };
    const done = await api.call('reviews.deny', { params: { workload }, body });
    if (options.json) terminal.json(done);
    else
      terminal.prose(`Denied on purpose: ${questions.length}. target ${done.target}: ${approvalText(done)}.`);
    return EXIT.done.code;
  },
};

const ask: CommandSpec<ApiOptions & { readonly about?: string }> = {
  name: 'review ask',
  args: '<workload> <text...>',
  summary: 'Leave a comment for the owners of a workload.',
  options: [SERVER, new Option('--about <id>', 'the change or question that it is about')],
  example: 'interlock review ask spiffe://example.org/ns/shop/sa/cart "who calls DELETE here?"',
  json: WHOLE_JSON,
  async run({ terminal }, [id = '', ...words], options) {
    const { api, workload, review } = await look(options, id);
    const [about] =
      options.about === undefined ? [] : idsOf([options.about], [...review.changes, ...review.questions]);
    const body = { text: words.join(' '), ...(about === undefined ? {} : { about }) };
    const done = await api.call('reviews.ask', { params: { workload }, body });
    if (options.json) terminal.json(done);
    else terminal.prose(`Asked: ${done.owners.join(', ') || 'nobody is named as its owner yet'}.`);
    return EXIT.done.code;
  },
};

const acknowledge: CommandSpec<ApiOptions & { readonly reason: string }> = {
  name: 'review acknowledge',
  args: '<workload> <id...>',
  summary:
    'Say that blind spots, and doubts that no rule can be written for, are known: what is hidden there may be denied. IDs are those of "interlock readiness --to ID".',
  options: [SERVER, REASON],
  example: 'interlock review acknowledge spiffe://example.org/ns/shop/sa/cart "$ID" --reason "only scrapes"',
  json: WHOLE_JSON,
  async run({ terminal }, [id = '', ...ids], { state, server, json, reason }) {
    const params = { workload: parseSpiffeId(id) };
    const done = await new Api({ state, server }).call('reviews.acknowledge', {
      params,
      body: { ids, reason },
    });
    if (json) terminal.json(done);
    else terminal.line(`Acknowledged: ${ids.length}.`);
    return EXIT.done.code;
  },
};

const edit: CommandSpec<DecideOptions> = {
  name: 'review edit',
  args: '<workload> <file>',
  summary:
    'Write the target set of a workload by hand, as "review show --yaml" prints it: whoever writes it is its author, and others approve it.',
  options: [SERVER, TARGET],
  example: 'interlock review edit spiffe://example.org/ns/shop/sa/cart cart.yaml',
  json: WHOLE_JSON,
  async run({ terminal }, [id = '', file = ''], options) {
    const yaml = readText(file);
    // Here first: the place of a mistake is that of the file.
    readPolicies(yaml, file);
    const { api, workload, review } = await look(options, id);
    // The file says itself what it was made from.
    const written = /^# target: ([0-9a-f]+)$/m.exec(yaml)?.[1];
    const body = { target: options.target ?? written ?? review.target, yaml, file };
    const done = await api.call('reviews.edit', { params: { workload }, body });
    if (options.json) terminal.json(done);
    else terminal.prose(`The target is now ${done.target}: ${approvalText(done)}.`);
    return EXIT.done.code;
  },
};

const history: CommandSpec<ApiOptions> = {
  name: 'policy history',
  args: '<workload>',
  summary:
    'Who has moved or changed a workload, when, and on what evidence: from the audit log, the newest first.',
  options: [SERVER],
  example: 'interlock policy history spiffe://example.org/ns/shop/sa/cart',
  json: '{entries: [{seq, at, who, act, details}]}',
  async run({ terminal, now }, [id = ''], { state, server, json }) {
    const params = { workload: parseSpiffeId(id) };
    const shown = await new Api({ state, server }).call('history.get', { params });
    if (json) terminal.json(shown);
    else if (shown.entries.length === 0) terminal.line('Nothing has been done to it yet.');
    else
      terminal.listing([
        ['WHEN', 'WHO', 'WHAT', 'ON'],
        ...shown.entries.map(({ at, who, act, details }) => [
          distanceText(at, now()),
          who,
          act,
          historyText(act, details),
        ]),
      ]);
    return EXIT.done.code;
  },
};

/** `interlock review ...`. */
export const REVIEW_COMMANDS: readonly CommandSpec<never>[] = [
  list,
  show,
  approve,
  reject,
  deny,
  acknowledge,
  ask,
  edit,
];
export const HISTORY_COMMANDS: readonly CommandSpec<never>[] = [history];
