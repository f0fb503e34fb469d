import { Button, CloseButton } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id } from '../parts/marks.tsx';
import { counted, number, shortId } from '../parts/words.ts';
import { Accesses } from './accesses.tsx';
import { pairsOf } from './group.ts';
import { KIND, KINDS, type Kind, type Layers, shownKind } from './kinds.ts';
import { Sample } from './legend.tsx';
import type { Group, Line, MapModel } from './model.ts';

interface Props {
  readonly model: MapModel;
  readonly layers: Layers;
  readonly selected: string;
  readonly open: ReadonlySet<string>;
  readonly onSelect: (id: string | undefined) => void;
  readonly onToggle: (group: string) => void;
}

/** What is known of the selected node or line: its pairs, down to the accesses and their evidence. */
export function SidePanel(props: Props) {
  const { model, selected, onSelect } = props;
  const pairs = useMemo(() => pairsOf(model, selected), [model, selected]);
  return (
    <aside className="panel map-panel" aria-label="Selected">
      <div className="row spread" style={{ flexWrap: 'nowrap', alignItems: 'start' }}>
        <Title {...props} />
        <CloseButton size="sm" aria-label="Close" onClick={() => onSelect(undefined)} />
      </div>
      <Body {...props} pairs={pairs} />
    </aside>
  );
}

const nameOf = (model: MapModel, id: string) => model.groups.get(id)?.name ?? shortId(id);

function Title({ model, selected }: Props) {
  const [from = '', to] = selected.split('\n');
  if (to !== undefined)
    return (
      <h2>
        <span title={from}>{nameOf(model, from)}</span> → <span title={to}>{nameOf(model, to)}</span>
      </h2>
    );
  return <h2>{model.groups.has(selected) ? nameOf(model, selected) : <Id id={selected} />}</h2>;
}

function Body(props: Props & { readonly pairs: readonly Line[] }) {
  const { model, selected, pairs, layers, onSelect } = props;
  const group = model.groups.get(selected);
  const place = model.places.get(selected);
  const only = pairs.length === 1 && selected.includes('\n') ? pairs[0] : undefined;
  if (pairs.length === 0 && group === undefined && place === undefined)
    return <div className="dim">It is not in the estate any more.</div>;
  return (
    <>
      {group === undefined ? null : <GroupFacts {...props} group={group} />}
      {place?.kind === 'workload' ? (
        <Button
          size="compact-xs"
          variant="default"
          style={{ alignSelf: 'start' }}
          renderRoot={(rest) => (
            <Link
              {...rest}
              to="/workloads/$workload"
              params={{ workload: place.id.slice('spiffe://'.length) }}
            />
          )}
        >
          Open its page
        </Button>
      ) : null}
      <Sums pairs={pairs} />
      {only !== undefined ? (
        <Accesses from={only.from} to={only.to} />
      ) : place !== undefined ? (
        <>
          <Pairs
            title="Called by"
            end="from"
            pairs={pairs.filter(({ to }) => to === place.id)}
            {...{ layers, onSelect }}
          />
          <Pairs
            title="Calls"
            end="to"
            pairs={pairs.filter(({ from }) => from === place.id)}
            {...{ layers, onSelect }}
          />
        </>
      ) : (
        <Pairs title="Who calls whom" end="both" {...{ pairs, layers, onSelect }} />
      )}
    </>
  );
}

function GroupFacts({ group, open, onToggle }: Props & { readonly group: Group }) {
  const stages = new Map<string, number>();
  for (const { stage } of group.places) stages.set(stage, 1 + (stages.get(stage) ?? 0));
  const released = group.places.filter(({ isReleased }) => isReleased).length;
  const facts = [...stages].map(
    ([stage, n]) => `${number(n)} ${stage === 'none' ? 'without a policy' : stage}`,
  );
  return (
    <div className="row spread">
      <span>
        {group.isStrangers
          ? counted(group.places.length, 'caller')
          : counted(group.places.length, 'workload')}
        {group.isStrangers ? null : `: ${facts.join(', ')}`}
        {released === 0 ? null : `, ${released} released`}
      </span>
      <Button size="compact-xs" variant="default" onClick={() => onToggle(group.id)}>
        {open.has(group.id) ? 'Close' : 'Open'}
      </Button>
    </div>
  );
}

/** Accesses by kind. */
function Sums({ pairs }: { readonly pairs: readonly Line[] }) {
  const sum = (of: (line: Line) => number) => pairs.reduce((total, line) => total + of(line), 0);
  const kinds = KINDS.map((kind) => [kind, sum(({ counts }) => counts[kind])] as const).filter(
    ([, n]) => n > 0,
  );
  return (
    <div className="row" style={{ gap: '2px 12px' }}>
      <span>
        {counted(
          sum(({ accesses }) => accesses),
          'access',
          'accesses',
        )}
      </span>
      <span>
        {counted(
          sum(({ calls }) => calls),
          'call',
        )}
      </span>
      {kinds.map(([kind, n]) => (
        <span key={kind} title={KIND[kind].what}>
          <Sample kind={kind} /> {number(n)} {KIND[kind].label}
        </span>
      ))}
    </div>
  );
}

const rankOf = (kind: Kind | undefined) => (kind === undefined ? KINDS.length : KINDS.indexOf(kind));

interface PairsProps {
  readonly title: string;
  readonly end: 'from' | 'to' | 'both';
  readonly pairs: readonly Line[];
  readonly layers: Layers;
  readonly onSelect: (id: string) => void;
}

const pairText = ({ from, to }: Line, end: PairsProps['end']) =>
  end === 'to' ? shortId(to) : end === 'from' ? shortId(from) : `${shortId(from)} → ${shortId(to)}`;

/** A pair is two lines high: its name, and its state below. */
const PAIR_PX = 46;

/** Pairs of workloads, the worst first. */
function Pairs({ title, end, pairs, layers, onSelect }: PairsProps) {
  const rows = pairs
    .map((line) => ({ line, kind: shownKind(line, layers) }))
    .sort((a, b) => rankOf(a.kind) - rankOf(b.kind) || b.line.calls - a.line.calls);
  if (rows.length === 0) return null;
  const columns: readonly Column<(typeof rows)[number]>[] = [
    {
      key: 'pair',
      head: end === 'to' ? 'Callee' : end === 'from' ? 'Caller' : 'Caller and callee',
      value: ({ line, kind }) =>
        `${pairText(line, end)} ${kind === undefined ? 'filtered out' : KIND[kind].label} ${marksOf(line)}`.trim(),
      cell: ({ line, kind }) => (
        <>
          <button type="button" onClick={() => onSelect(line.id)} title={`${line.from} → ${line.to}`}>
            {pairText(line, end)}
          </button>
          <div>
            {kind === undefined ? (
              <span className="dim">filtered out</span>
            ) : (
              <State line={line} kind={kind} />
            )}
          </div>
        </>
      ),
      isWide: true,
    },
    {
      key: 'calls',
      head: 'Calls',
      value: ({ line }) => line.calls,
      cell: ({ line }) => number(line.calls),
      isNumber: true,
    },
    // Of two names, and a time beside them, nothing would be read.
    ...(end === 'both'
      ? []
      : [
          {
            key: 'lastSeen',
            head: 'Last',
            value: ({ line }: (typeof rows)[number]) => line.lastSeen,
            isTime: true,
          },
        ]),
  ];
  return (
    <DataTable
      name={title.toLowerCase()}
      title={
        <>
          {title} <span className="dim">{number(rows.length)}</span>
        </>
      }
      rows={rows}
      columns={columns}
      keyOf={({ line }) => line.id}
      mostPx={480}
      rowPx={PAIR_PX}
    />
  );
}

const marksOf = ({ fresh, lone }: Line) =>
  [fresh > 0 ? 'new' : '', lone > 0 ? 'unusual' : ''].filter(Boolean).join(', ');

function State({ line, kind }: { readonly line: Line; readonly kind: Kind }) {
  const marks = marksOf(line);
  return (
    <>
      <Sample kind={kind} /> {KIND[kind].label}
      {marks === '' ? null : <span style={{ color: 'var(--is-fresh)' }}> {marks}</span>}
    </>
  );
}
