import { Button, Checkbox } from '@mantine/core';
import { memo } from 'react';
import type { AccessPolicy } from '../../../src/policy/types.ts';
import { Id, Mark, When } from '../parts/marks.tsx';
import { counted } from '../parts/words.ts';
import { type Line, linesOf } from './diff.ts';
import { Evidence } from './evidence.tsx';
import type { Item, ReviewChange, ReviewQuestion } from './items.ts';

interface Props {
  readonly item: Item;
  readonly policies: readonly AccessPolicy[];
  readonly isChosen: boolean;
  readonly isCurrent: boolean;
  readonly mayChoose: boolean;
  readonly onTurn: (id: string) => void;
  readonly onDo: OnDo;
}

/** What may be done with one thing alone. */
export type OnDo = (does: 'approve' | 'reject' | 'deny' | 'ask', id: string) => void;

/** One thing to decide, with what it rests on. Only drawn anew where it has changed: a review holds hundreds. */
export const ItemRow = memo(function ItemRow(props: Props) {
  const { item, policies, isChosen, isCurrent, mayChoose, onTurn, onDo } = props;
  const does = mayChoose ? onDo : undefined;
  const name = item.is === 'change' ? item.change.rule.name : item.question.text;
  return (
    <article
      className="rule item"
      id={`item-${item.id}`}
      tabIndex={-1}
      aria-label={name}
      aria-current={isCurrent || undefined}
    >
      <Checkbox
        size="xs"
        aria-label={`Choose ${name}`}
        disabled={!mayChoose}
        checked={isChosen}
        onChange={() => onTurn(item.id)}
      />
      {item.is === 'change' ? (
        <ChangeBody change={item.change} policies={policies} onDo={does} />
      ) : (
        <QuestionBody question={item.question} onDo={does} />
      )}
      {item.is === 'change' ? <Evidence of={item.change.evidence} /> : <Seen of={item.question} />}
    </article>
  );
});

interface ChangeProps {
  readonly change: ReviewChange;
  readonly policies: readonly AccessPolicy[];
  readonly onDo: OnDo | undefined;
}

function ChangeBody({ change, policies, onDo }: ChangeProps) {
  const { id, kind, rule, of, doubt, why, since } = change;
  return (
    <div className="body">
      <div className="row spread">
        <div className="row">
          <strong className="break">{kind === 'added' ? rule.name : (of?.rule ?? rule.name)}</strong>
          {kind === 'removed' ? <Mark is="unused">unused</Mark> : null}
          {kind === 'widened' ? <span className="dim">allows more</span> : null}
        </div>
        <Aside id={id} does={['approve', 'reject', 'ask']} onDo={onDo} />
      </div>
      {doubt === undefined ? null : <Mark is="would-deny">{doubt.reasons.join('; ')}</Mark>}
      <Lines lines={linesOf(change, policies)} />
      {why === undefined ? null : <div className="dim">{why}</div>}
      <Opened since={since} />
    </div>
  );
}

function QuestionBody({
  question,
  onDo,
}: {
  readonly question: ReviewQuestion;
  readonly onDo: OnDo | undefined;
}) {
  const { id, from, text, deniedBy, change, deny, since } = question;
  const by = deniedBy.rule === undefined ? 'no rule allows it' : `denied by ${deniedBy.rule}`;
  return (
    <div className="body">
      <div className="row spread">
        <strong>
          <Id id={from} />
        </strong>
        <Aside
          id={id}
          does={[
            ...(change === undefined ? [] : (['approve'] as const)),
            ...(deny === undefined ? [] : (['deny'] as const)),
            'reject',
            'ask',
          ]}
          onDo={onDo}
        />
      </div>
      <code className="break">{text}</code>
      <div>
        <Mark is="would-deny">would be denied: {by}</Mark>
      </div>
      {change === undefined ? (
        <div className="dim">No rule is proposed for it: to allow it, edit the target.</div>
      ) : null}
      {deny === undefined ? <div className="dim">It has no identity that a rule could deny.</div> : null}
      <Opened since={since} />
    </div>
  );
}

function Seen({ of: { count, firstSeen, lastSeen } }: { readonly of: ReviewQuestion }) {
  return (
    <div className="heat evidence">
      <div className="row figures">
        <strong>{counted(count, 'request')}</strong>
        <span className="dim">
          first <When at={firstSeen} />
        </span>
        <span className="dim">
          last <When at={lastSeen} />
        </span>
      </div>
    </div>
  );
}

interface AsideProps {
  readonly id: string;
  readonly does: readonly Parameters<OnDo>[0][];
  readonly onDo: OnDo | undefined;
}

const DOES = { approve: 'Approve', reject: 'Reject', deny: 'Deny', ask: 'Ask' } as const;

function Aside({ id, does, onDo }: AsideProps) {
  return (
    <span className="row aside">
      {onDo === undefined
        ? null
        : does.map((each) => (
            <Button key={each} size="compact-xs" variant="subtle" onClick={() => onDo(each, id)}>
              {DOES[each]}
            </Button>
          ))}
    </span>
  );
}

function Opened({ since }: { readonly since: number }) {
  return (
    <div className="dim">
      opened <When at={since} />
    </div>
  );
}

const SIGNS = { '+': 'comes', '-': 'goes', ' ': 'stays' } as const;

/** A diff: the sign stands before each line, so that it is told without its colour. */
export function Lines({ lines }: { readonly lines: readonly (Line | null)[] }) {
  return (
    <div className="diff">
      {lines.map((line, at) =>
        line === null ? (
          // Lines that are left out have no name but their place.
          <div key={at} className="left-out">
            …
          </div>
        ) : (
          <div key={at} className={SIGNS[line.sign]}>
            <span aria-hidden>{line.sign}</span>
            {line.text}
          </div>
        ),
      )}
    </div>
  );
}
