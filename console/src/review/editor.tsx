import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { call } from '../api/client.ts';
import { read } from '../api/query.ts';
import { Mark } from '../parts/marks.tsx';
import { counted } from '../parts/words.ts';
import { Refused } from './dialogs.tsx';
import { type Draft, drafts } from './drafts.ts';
import { Faults } from './faults.tsx';
import { nearChanges, textDiff } from './diff.ts';
import { Lines } from './item.tsx';
import type { Review } from './items.ts';

/** How long nobody types before a text is checked, milliseconds. */
const QUIET_MS = 350;
/** Height of a line, as the style sheet has it. */
const LINE_PX = 18;

interface Props {
  readonly review: Review;
  readonly isPending: boolean;
  readonly error: Error | null;
  readonly onSave: (yaml: string, target: string) => void;
  readonly onClose: () => void;
}

/** The target as text, to be written by hand. Where there is none, it begins with what is proposed. */
export function Editor(props: Props) {
  const { review } = props;
  const { workload, yaml, target } = review;
  const proposal = useQuery({
    ...read('proposals.get', { params: { workload } }),
    enabled: yaml === '' && !drafts.has(workload),
  });
  const known = drafts.get(workload);
  if (known !== undefined) return <Writing {...props} first={known} />;
  if (yaml === '' && proposal.isPending) return <div className="panel dim">Reading...</div>;
  const text = yaml === '' ? (proposal.data?.yaml ?? '') : yaml;
  return <Writing {...props} first={{ target, before: text, text }} />;
}

function Writing({ review, isPending, error, onSave, onClose, first }: Props & { readonly first: Draft }) {
  const { workload } = review;
  const [draft, setDraft] = useState(first);
  const { check, fault: unchecked } = useCheck(draft.text);
  const keep = (next: Draft) => {
    // What was typed outlives the page: whoever looks something up finds it again.
    if (next.text === next.before) drafts.delete(workload);
    else drafts.set(workload, next);
    setDraft(next);
  };
  const diff = textDiff(draft.before, draft.text);
  const changed = diff.filter(({ sign }) => sign !== ' ').length;
  const isUntouched = draft.text === draft.before;
  const isOvertaken = draft.target !== review.target && !isUntouched;
  // Who has written nothing yet goes on from what there is now.
  useEffect(() => {
    const { target, yaml } = review;
    if (isUntouched && draft.target !== target) setDraft({ target, before: yaml, text: yaml });
  }, [review, isUntouched, draft.target]);
  const faults = check?.faults ?? [];
  const box = useRef<HTMLTextAreaElement>(null);
  return (
    <form
      className="panel stack"
      style={{ gap: 8 }}
      onSubmit={(event) => {
        event.preventDefault();
        onSave(draft.text, draft.target);
      }}
    >
      <div className="row spread">
        <h2>The target, by hand</h2>
        <span className="dim">
          {first.text === first.before || changed === 0 ? null : 'your draft; '}
          {counted(changed, 'line')} changed
        </span>
      </div>
      {isOvertaken ? (
        <Overtaken
          draft={draft}
          review={review}
          onMine={() => keep({ ...draft, before: review.yaml, target: review.target })}
          onTheirs={() => keep({ target: review.target, before: review.yaml, text: review.yaml })}
        />
      ) : null}
      <YamlText
        box={box}
        text={draft.text}
        lines={new Set(faults.flatMap(({ line }) => line ?? []))}
        onChange={(text) => keep({ ...draft, text })}
      />
      <div role="status">
        {unchecked !== null ? (
          <Mark is="would-deny">not checked: {unchecked.message}</Mark>
        ) : check === undefined ? (
          <span className="dim">Checking...</span>
        ) : check.fault === undefined ? (
          <Mark is="allowed">{check.policies.map(policyText).join('; ') || 'no policy'}</Mark>
        ) : (
          <Faults faults={faults} onGo={(line) => goToLine(box.current, line)} />
        )}
      </div>
      <Refused error={error} />
      <div className="row">
        <Button
          type="submit"
          loading={isPending}
          disabled={changed === 0 || isOvertaken || check?.fault !== undefined}
        >
          Save as the target
        </Button>
        <Button variant="default" onClick={onClose}>
          Close
        </Button>
        {changed === 0 ? null : (
          <Button variant="subtle" onClick={() => keep({ ...draft, text: draft.before })}>
            Discard my changes
          </Button>
        )}
        <span className="dim">You become its author: where two must approve, somebody else does.</span>
      </div>
      {changed === 0 ? null : <Lines lines={nearChanges(diff)} />}
    </form>
  );
}

const policyText = ({ name, rules }: Received<'policies.check'>['policies'][number]) =>
  `${name}: ${counted(rules, 'rule')}`;

/** What the control plane says of a text, some time after the last key. */
function useCheck(text: string): {
  readonly check: Received<'policies.check'> | undefined;
  readonly fault: Error | null;
} {
  const [quiet, setQuiet] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setQuiet(text), QUIET_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const { data, error } = useQuery({
    queryKey: ['policies.check', quiet],
    queryFn: ({ signal }) => call('policies.check', { body: { yaml: quiet } }, { signal }),
    gcTime: 0,
  });
  return quiet === text ? { check: data, fault: error } : { check: undefined, fault: null };
}

/** Puts the cursor at the start of a line, and brings that into view. */
function goToLine(box: HTMLTextAreaElement | null, line: number): void {
  if (box === null) return;
  const before = box.value.split('\n').slice(0, line - 1);
  const start = before.reduce((sum, each) => sum + each.length + 1, 0);
  const end = box.value.indexOf('\n', start);
  box.focus();
  box.setSelectionRange(start, end === -1 ? box.value.length : end);
  box.scrollTop = Math.max(0, (line - 4) * LINE_PX);
}

interface YamlProps {
  readonly box: React.RefObject<HTMLTextAreaElement | null>;
  readonly text: string;
  /** Those that something is wrong with. */
  readonly lines: ReadonlySet<number>;
  readonly onChange: (text: string) => void;
}

/** A text with its lines numbered, and those that are wrong marked. */
function YamlText({ box, text, lines, onChange }: YamlProps) {
  const numbers = useRef<HTMLPreElement>(null);
  const count = text.split('\n').length;
  // Whoever opened it wants to write.
  useEffect(() => box.current?.focus(), [box]);
  return (
    <div className="editor" style={{ height: `min(46vh, ${Math.max(8, count + 2) * LINE_PX}px)` }}>
      <pre ref={numbers} aria-hidden>
        {Array.from({ length: count }, (_, at) =>
          lines.has(at + 1) ? <b key={at}>{`▸${at + 1}\n`}</b> : `${at + 1}\n`,
        )}
      </pre>
      <textarea
        ref={box}
        aria-label="The target as YAML"
        aria-invalid={lines.size > 0}
        spellCheck={false}
        autoCapitalize="off"
        autoCorrect="off"
        value={text}
        onChange={(event) => onChange(event.currentTarget.value)}
        onScroll={(event) => {
          if (numbers.current !== null) numbers.current.scrollTop = event.currentTarget.scrollTop;
        }}
      />
    </div>
  );
}

interface OvertakenProps {
  readonly draft: Draft;
  readonly review: Review;
  readonly onMine: () => void;
  readonly onTheirs: () => void;
}

/** The target was changed while somebody wrote: what, and whose text goes on. */
function Overtaken({ draft, review, onMine, onTheirs }: OvertakenProps) {
  const last = review.lastDecision;
  return (
    <div className="banner quiet" role="alert" style={{ margin: 0, display: 'block' }}>
      <strong>
        The target was changed since you began{last === undefined ? '.' : `: ${last.who} ${last.what}.`}
      </strong>{' '}
      Your text is kept. This is what they changed:
      <Lines lines={nearChanges(textDiff(draft.before, review.yaml))} />
      <div className="row" style={{ marginTop: 6 }}>
        <Button size="compact-sm" onClick={onMine}>
          Go on with mine, over theirs
        </Button>
        <Button size="compact-sm" variant="default" onClick={onTheirs}>
          Take theirs, drop mine
        </Button>
      </div>
    </div>
  );
}
