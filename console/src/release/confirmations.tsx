import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { call, Refusal } from '../api/client.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id, Mark } from '../parts/marks.tsx';
import { Problem } from '../parts/states.tsx';
import { counted } from '../parts/words.ts';

export type Progress = Received<'changes.get'>;

const COLUMNS: readonly Column<Progress['confirmed'][number]>[] = [
  {
    key: 'identity',
    head: 'Confirmed',
    value: ({ identity }) => identity,
    cell: ({ identity }) => <Id id={identity} />,
    isWide: true,
  },
  { key: 'instance', head: 'Instance', value: ({ instance }) => instance },
  {
    key: 'ms',
    head: 'After',
    value: ({ ms }) => Math.round(ms),
    cell: ({ ms }) => `${Math.round(ms)} ms`,
    isNumber: true,
  },
];

/** How long one call waits for more confirmations, milliseconds. */
const WAIT_MS = 20_000;

/** How long until a call that failed is made again, milliseconds. */
const AGAIN_MS = 2000;

/** The control plane knows nothing of it any more: it was started anew, or it is long ago. */
const isForgotten = (error: Error) => error instanceof Refusal && error.code === 'not_found';

/** Whether everybody who can confirm has. */
const isOver = ({ waiting }: Progress) => waiting.every(({ connected }) => !connected);

/** Which proxies have confirmed a change, as they do. */
export function Confirmations({ change, what }: { readonly change: string; readonly what: string }) {
  const { data, error } = useQuery({
    queryKey: ['changes.follow', change],
    gcTime: 0,
    queryFn: async ({ signal, client, queryKey }) => {
      const before = client.getQueryData<Progress>(queryKey);
      // The first answer comes at once; then each one as soon as there is more.
      const query = before === undefined ? {} : { known: before.confirmed.length, waitMs: WAIT_MS };
      return call('changes.get', { params: { id: change }, query }, { signal });
    },
    refetchInterval: ({ state }) => {
      if (state.error !== null) return isForgotten(state.error) ? false : AGAIN_MS;
      return state.data === undefined || isOver(state.data) ? false : 1;
    },
    // Who looks at another window meanwhile sees it when coming back.
    refetchIntervalInBackground: true,
  });
  if (data === undefined)
    return error === null ? (
      <div className="dim">Waiting for the first proxy...</div>
    ) : (
      <Problem error={error} />
    );
  return <ProgressShown progress={data} what={what} />;
}

/** Who has confirmed, in how many milliseconds, and who has not. */
export function ProgressShown({ progress, what }: { readonly progress: Progress; readonly what: string }) {
  const { confirmed, waiting } = progress;
  const all = confirmed.length + waiting.length;
  const last = Math.max(0, ...confirmed.map(({ ms }) => ms));
  return (
    <div className="panel stack" style={{ gap: 8 }} role="status">
      <div className="row spread">
        <strong>
          {what}: {confirmed.length} of {counted(all, 'proxy', 'proxies')} confirmed
        </strong>
        <span>{confirmed.length === 0 ? '' : `the last after ${Math.round(last)} ms`}</span>
      </div>
      <div className="bar" aria-hidden>
        <i style={{ width: `${all === 0 ? 100 : (100 * confirmed.length) / all}%` }} />
      </div>
      {all === 0 ? <div className="dim">No proxy is known: nothing enforces yet.</div> : null}
      {waiting.length === 0 ? null : <Waiting waiting={waiting} />}
      {confirmed.length === 0 ? null : (
        <DataTable
          name="confirmed"
          rows={confirmed}
          columns={COLUMNS}
          keyOf={({ key }) => key}
          order={{ key: 'ms', isDown: true }}
          mostPx={260}
        />
      )}
    </div>
  );
}

function Waiting({ waiting }: Pick<Progress, 'waiting'>) {
  return (
    <div>
      <div>
        <Mark is="would-deny">Not confirmed: {waiting.length}</Mark>
      </div>
      <ul style={{ margin: '2px 0 0', paddingLeft: 18 }}>
        {waiting.map(({ key, identity, instance, connected, fault }) => (
          <li key={key}>
            <Id id={identity} /> <span className="dim">{instance}</span>{' '}
            {connected
              ? fault === undefined
                ? 'has not answered yet'
                : `refused: ${fault.message}`
              : 'is away: it gets this when it comes back. On its machine: interlock release --local'}
          </li>
        ))}
      </ul>
    </div>
  );
}
