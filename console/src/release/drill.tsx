import { Button } from '@mantine/core';
import { useState } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { useMay } from '../app/me.ts';
import { useAct } from '../parts/act.tsx';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id, Mark } from '../parts/marks.tsx';
import { type Progress, ProgressShown } from './confirmations.tsx';

type Drills = Received<'releases.list'>['drills'];

const COLUMNS: readonly Column<Drills[number]>[] = [
  { key: 'at', head: 'When', value: ({ at }) => at, isTime: true },
  { key: 'by', head: 'By', value: ({ by }) => by, cell: ({ by }) => <Id id={by} />, isWide: true },
  {
    key: 'confirmed',
    head: 'Confirmed',
    value: ({ points, confirmed }) => `${confirmed} of ${points}`,
    cell: ({ points, confirmed }) =>
      confirmed === points ? (
        `${confirmed} of ${points}`
      ) : (
        <Mark is="would-deny">{`${confirmed} of ${points}`}</Mark>
      ),
    isNumber: true,
  },
];

/** Proves the button without changing a verdict. */
export function Drill({ drills }: { readonly drills: Drills }) {
  const may = useMay()('releases.drill');
  const [result, setResult] = useState<Progress>();
  const drill = useAct('releases.drill', () => undefined, setResult);
  return (
    <section className="panel stack" style={{ gap: 8 }}>
      <div className="row spread">
        <h2>Drill</h2>
        <Button
          size="compact-sm"
          variant="default"
          disabled={!may}
          loading={drill.isPending}
          onClick={() => drill.mutate({ given: { body: {} } })}
        >
          Run a drill
        </Button>
      </div>
      <div className="dim">
        Sends every connected proxy its state the way a release goes, and changes no verdict. Promotions need
        a recent one.
      </div>
      {result === undefined ? null : <ProgressShown progress={result} what="Drill" />}
      {drills.length === 0 ? (
        <div>No drill yet.</div>
      ) : (
        <DataTable
          name="drills"
          rows={drills}
          columns={COLUMNS}
          keyOf={({ at }) => String(at)}
          order={{ key: 'at', isDown: true }}
          mostPx={260}
        />
      )}
    </section>
  );
}
