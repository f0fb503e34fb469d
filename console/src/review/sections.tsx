import { Button, Checkbox } from '@mantine/core';
import { useCallback, useRef, useState } from 'react';
import { counted } from '../parts/words.ts';
import { ItemRow, type OnDo } from './item.tsx';
import { type Review, SECTION_TITLES, type SectionName, type sectionsOf } from './items.ts';

/** Things that a section shows at first, and how many more at a time: each carries a chart. */
const PAGE = 40;

type SectionList = ReturnType<typeof sectionsOf>;

/** What of the sections is on the page, and which of it the keys are at. */
export interface Shown {
  readonly sections: SectionList;
  readonly limitOf: (name: SectionName) => number;
  readonly more: (name: SectionName) => void;
  readonly current: string | undefined;
  readonly move: (step: 1 | -1) => void;
}

export function useShown(sections: SectionList): Shown {
  const [limits, setLimits] = useState<Readonly<Partial<Record<SectionName, number>>>>({});
  const [at, setAt] = useState<string>();
  const limitOf = (name: SectionName) => limits[name] ?? PAGE;
  const more = (name: SectionName) => setLimits({ ...limits, [name]: limitOf(name) + PAGE });
  const ids = sections.flatMap(({ name, items }) => items.slice(0, limitOf(name)).map(({ id }) => id));
  // What is decided leaves; the keys stay about where they were.
  const place = useRef(0);
  const known = at === undefined ? -1 : ids.indexOf(at);
  const current = at === undefined ? undefined : (ids[known] ?? ids[Math.min(place.current, ids.length - 1)]);
  const move = (step: 1 | -1) => {
    const from = current === undefined ? (step === 1 ? -1 : 1) : ids.indexOf(current);
    const to = Math.max(0, Math.min(ids.length - 1, from + step));
    const id = ids[to];
    place.current = to;
    setAt(id);
    const row = id === undefined ? null : document.getElementById(`item-${id}`);
    row?.focus({ preventScroll: true });
    row?.scrollIntoView({ block: 'nearest' });
  };
  return { sections, limitOf, more, current, move };
}

interface Props {
  readonly shown: Shown;
  readonly review: Review;
  readonly chosen: ReadonlySet<string>;
  readonly mayChoose: boolean;
  readonly onTurn: (id: string) => void;
  readonly onChoose: (ids: ReadonlySet<string>) => void;
  readonly onDo: OnDo;
}

/** What waits, section by section. */
export function Sections({ shown, review, chosen, mayChoose, onTurn, onChoose, onDo }: Props) {
  // Rows are drawn anew only where they change: what they call stays the same.
  const latest = useRef({ onTurn, onDo });
  latest.current = { onTurn, onDo };
  const turn = useCallback((id: string) => latest.current.onTurn(id), []);
  const act = useCallback<OnDo>((does, id) => latest.current.onDo(does, id), []);
  if (shown.sections.length === 0) return <div className="dim">Nothing that waits has these words.</div>;
  return shown.sections.map(({ name, items }) => {
    const limit = shown.limitOf(name);
    const own = items.map(({ id }) => id);
    const all = own.length > 0 && own.every((id) => chosen.has(id));
    return (
      <section key={name} className="panel" aria-label={SECTION_TITLES[name]}>
        <div className="row spread">
          <h2>
            {SECTION_TITLES[name]} <span className="dim">{items.length}</span>
          </h2>
          {name === 'doubts' && !review.bulk ? (
            <span className="dim">each alone, by an owner</span>
          ) : items.length < 2 ? null : (
            <Checkbox
              size="xs"
              label={`All ${items.length}`}
              aria-label={`Choose all ${items.length}: ${SECTION_TITLES[name]}`}
              disabled={!mayChoose}
              checked={all}
              indeterminate={!all && own.some((id) => chosen.has(id))}
              onChange={() =>
                onChoose(
                  all
                    ? new Set([...chosen].filter((id) => !own.includes(id)))
                    : new Set([...(review.bulk ? chosen : withoutDoubts(chosen, review)), ...own]),
                )
              }
            />
          )}
        </div>
        {name === 'questions' ? (
          <div className="dim">
            Approve: a rule allows it. Deny: a rule denies it on purpose. Reject: no rule, so the target
            denies it; it is not asked again.
          </div>
        ) : null}
        {items.slice(0, limit).map((item) => (
          <ItemRow
            key={item.id}
            item={item}
            policies={review.policies}
            isChosen={chosen.has(item.id)}
            isCurrent={shown.current === item.id}
            mayChoose={mayChoose}
            onTurn={turn}
            onDo={act}
          />
        ))}
        {items.length > limit ? (
          <Button size="compact-sm" variant="default" mt={8} onClick={() => shown.more(name)}>
            {counted(items.length - limit, 'more', 'more')}
          </Button>
        ) : null}
      </section>
    );
  });
}

/** Where doubts are decided alone, choosing others lets go of them. */
function withoutDoubts(chosen: ReadonlySet<string>, { changes }: Review): readonly string[] {
  return [...chosen].filter((id) => changes.find((each) => each.id === id)?.doubt === undefined);
}
