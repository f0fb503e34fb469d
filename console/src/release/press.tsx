import { Chip, Group, SegmentedControl, Select, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useMay } from '../app/me.ts';
import { read } from '../api/query.ts';
import { useAct } from '../parts/act.tsx';
import { scopeText, shortId, type Scope } from '../parts/words.ts';
import { HoldButton } from './hold-button.tsx';
import type { Followed } from './index.tsx';
import { effectText, scopeOf, type Kind } from './scope.ts';

const KINDS: readonly { readonly value: Kind; readonly label: string }[] = [
  { value: 'all', label: 'Everything' },
  { value: 'namespace', label: 'Namespace' },
  { value: 'workload', label: 'Workload' },
  { value: 'policy', label: 'Policy' },
  { value: 'cluster', label: 'Cluster' },
];
const TIMES = [
  { value: '900000', label: '15 min' },
  { value: '3600000', label: '1 h' },
  { value: '14400000', label: '4 h' },
  { value: '', label: 'until armed' },
];
const REASONS = ['outage', 'wrong denials', 'failed change'];

/** Scope, reason, duration, and the button. */
export function Press({ onPressed }: { readonly onPressed: (followed: Followed) => void }) {
  const may = useMay()('releases.press');
  const [kind, setKind] = useState<Kind>('all');
  const [name, setName] = useState<string | null>(null);
  const [reason, setReason] = useState('');
  const [forMs, setForMs] = useState('3600000');
  const scope = scopeOf(kind, name ?? '');
  const press = useAct(
    'releases.press',
    () => undefined,
    ({ change, release }) => {
      // Pressed once, it has to be meant anew.
      setReason('');
      onPressed({ change, what: `Release of ${scopeText(release.scope)}` });
    },
  );
  const missing = !may
    ? 'You need the role breaker.'
    : scope === undefined
      ? 'Choose what is released.'
      : reason.trim() === ''
        ? 'Say why: it stands in the audit log.'
        : undefined;
  const go = () => {
    if (scope === undefined) return;
    const body = { scope, reason: reason.trim(), ...(forMs === '' ? {} : { forMs: Number(forMs) }) };
    press.mutate({ given: { body } });
  };
  return (
    <section className="panel stack" aria-label="Release enforcement">
      <SegmentedControl
        fullWidth
        size="xs"
        aria-label="Scope"
        value={kind}
        onChange={(value) => {
          setKind(value);
          setName(null);
        }}
        data={[...KINDS]}
      />
      {kind === 'all' ? null : <ScopeName kind={kind} value={name} onChange={setName} />}
      <Effect scope={scope} />
      <div className="stack tight">
        <TextInput
          label="Reason"
          value={reason}
          maxLength={1000}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        <Group gap={6}>
          {REASONS.map((each) => (
            <Chip
              key={each}
              size="xs"
              variant="outline"
              checked={reason === each}
              onChange={() => setReason(each)}
            >
              {each}
            </Chip>
          ))}
        </Group>
      </div>
      <div className="stack tight">
        <span>Ends by itself after</span>
        <SegmentedControl
          fullWidth
          size="xs"
          aria-label="Duration"
          value={forMs}
          onChange={setForMs}
          data={TIMES}
        />
      </div>
      <HoldButton
        label={`Release ${scope === undefined ? kind : scopeText(scope)}`}
        hint={missing ?? (press.isPending ? 'Sent.' : 'Hold for a second; by keyboard hold Space.')}
        isDisabled={missing !== undefined || press.isPending}
        onPressed={go}
      />
    </section>
  );
}

interface NameProps {
  readonly kind: Kind;
  readonly value: string | null;
  readonly onChange: (name: string | null) => void;
}

/** What there is of a kind, to choose from; typed by hand where nothing is known of it. */
function ScopeName({ kind, value, onChange }: NameProps) {
  const { data: workloads } = useQuery(read('workloads.list', { query: { limit: 10_000 } }));
  const { data: policies } = useQuery({
    ...read('policies.list', { query: { limit: 10_000 } }),
    enabled: kind === 'policy',
  });
  const { data: points } = useQuery({ ...read('points.list', { query: {} }), enabled: kind === 'cluster' });
  const known: readonly string[] =
    kind === 'workload'
      ? (workloads?.workloads ?? []).map(({ id }) => id)
      : kind === 'namespace'
        ? (workloads?.workloads ?? []).map(({ namespace }) => namespace)
        : kind === 'policy'
          ? (policies?.policies ?? []).map(({ name }) => name)
          : (points?.points ?? []).flatMap(({ cluster }) => cluster ?? []);
  const data = [...new Set(known)].filter(Boolean).sort();
  if (data.length === 0)
    return (
      <TextInput
        label={`Name of the ${kind}`}
        value={value ?? ''}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
    );
  return (
    <Select
      label={kind[0]?.toUpperCase() + kind.slice(1)}
      searchable
      limit={50}
      value={value}
      onChange={onChange}
      data={data.map((each) => ({ value: each, label: shortId(each) }))}
      nothingFoundMessage="Nothing has that name."
    />
  );
}

/** What it will do, before it is pressed. */
function Effect({ scope }: { readonly scope: Scope | undefined }) {
  const { data } = useQuery(read('rollouts.list', { query: {} }));
  const { data: points } = useQuery(read('points.list', { query: {} }));
  if (scope === undefined || data === undefined || points === undefined) return null;
  return <div>{effectText(scope, data.rollouts, points.points)}</div>;
}
