import { Button, SegmentedControl, useMantineColorScheme } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { useMay } from '../app/me.ts';
import { read } from '../api/query.ts';
import { useAct } from '../parts/act.tsx';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { When } from '../parts/marks.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { counted, durationText, exactTime, percent } from '../parts/words.ts';
import { Channels } from './channels.tsx';
import { Replicas } from './replicas.tsx';
import { Syncs } from './syncs.tsx';

/** Who one is, who else is signed in, what promotions need, what runs here. */
export default function SettingsPage() {
  return (
    <>
      <PageHead title="Settings" />
      <div className="grid2">
        <div className="stack">
          <Me />
          <Status />
        </div>
        <Gates />
      </div>
      <div className="stack" style={{ gap: 20, marginTop: 16 }}>
        <Replicas />
        <Channels />
        <Syncs />
        <Sessions />
      </div>
    </>
  );
}

function Me() {
  const me = useQuery(read('me.get', {}));
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <section className="panel stack" style={{ gap: 8 }}>
      <h2>You</h2>
      <Loaded of={me}>
        {({ who, roles }) => (
          <dl className="facts">
            <dt>signed in as</dt>
            <dd className="break">{who}</dd>
            <dt>roles</dt>
            <dd>{roles.join(', ') || 'none'}</dd>
          </dl>
        )}
      </Loaded>
      <SegmentedControl
        size="xs"
        aria-label="Colours"
        value={colorScheme}
        onChange={(value) => setColorScheme(value === 'dark' ? 'dark' : value === 'light' ? 'light' : 'auto')}
        data={[
          { value: 'auto', label: 'As the system' },
          { value: 'light', label: 'Light' },
          { value: 'dark', label: 'Dark' },
        ]}
      />
    </section>
  );
}

function Status() {
  const status = useQuery(read('status.get', {}));
  return (
    <section className="panel">
      <h2>Control plane</h2>
      <Loaded of={status}>
        {({ version, startedAt, trustDomain, port, agents, connected, rules, live, revoked }) => (
          <dl className="facts">
            <dt>version</dt>
            <dd>{version}</dd>
            <dt>started</dt>
            <dd>
              <When at={startedAt} /> <span className="dim">{exactTime(startedAt)}</span>
            </dd>
            <dt>trust domain</dt>
            <dd>{trustDomain}</dd>
            <dt>agents and proxies on</dt>
            <dd>port {port}</dd>
            <dt>agents</dt>
            <dd>
              {connected} of {agents} connected
            </dd>
            <dt>identity rules</dt>
            <dd>{rules}</dd>
            <dt>SVIDs</dt>
            <dd>
              {live} live, {revoked} revoked
            </dd>
          </dl>
        )}
      </Loaded>
    </section>
  );
}

const TIERS = ['experimental', 'standard', 'critical'] as const;
type TierGates = Received<'gates.get'>['gates']['standard'];
const GATES: readonly (readonly [string, (gates: TierGates) => string | number])[] = [
  [
    'first-week surprises, 95 % bound',
    ({ surprises }) => (surprises >= Number.MAX_SAFE_INTEGER ? '-' : `≤ ${surprises}`),
  ],
  ['days recorded', ({ days }) => days],
  ['hours of the week', ({ hoursOfWeek }) => (hoursOfWeek === 0 ? '-' : hoursOfWeek)],
  ["month's end", ({ monthEnd }) => (monthEnd ? 'yes' : '-')],
  ['blind spots', ({ blindSpots }) => blindSpots],
  ['doubts', ({ doubts }) => doubts.replaceAll('-', ' ')],
  ['events lost', ({ lostShare }) => `≤ ${percent(lostShare)}`],
  ['shadow without a flip', ({ shadowHours }) => durationText(shadowHours * 3_600_000)],
  ['approvals', ({ approvals }) => (approvals === 0 ? '-' : approvals)],
  ['drill within', ({ drillDays }) => (drillDays === 0 ? '-' : counted(drillDays, 'day'))],
];

function Gates() {
  const gates = useQuery(read('gates.get', {}));
  return (
    <section className="panel">
      <h2>What a promotion to enforced needs</h2>
      <Loaded of={gates}>
        {({ gates: of, canary }) => (
          <>
            <DataTable
              name="gates"
              rows={GATES}
              keyOf={([name]) => name}
              mostPx={420}
              columns={[
                { key: 'gate', head: 'Gate', value: ([name]) => name },
                ...TIERS.map((tier) => ({
                  key: tier,
                  head: tier,
                  value: ([, text]: (typeof GATES)[number]) => text(of[tier]),
                })),
              ]}
            />
            <p style={{ margin: '8px 0 0' }}>
              A canary widens in steps of {canary.steps.map(percent).join(', ')}, each for{' '}
              {durationText(canary.stepMs)} and {canary.requests} requests at least.
            </p>
            <p className="dim" style={{ margin: 0 }}>
              A file changes these: interlock up --gates gates.yaml
            </p>
          </>
        )}
      </Loaded>
    </section>
  );
}

type Session = Received<'sessions.list'>['sessions'][number];

function Sessions() {
  const sessions = useQuery(read('sessions.list', {}));
  const may = useMay()('sessions.end');
  const end = useAct('sessions.end', () => 'The session has ended.');
  const columns: readonly Column<Session>[] = [
    {
      key: 'who',
      head: 'Who',
      value: ({ who }) => who,
      cell: ({ who, isThis }) => (
        <>
          {who}
          {isThis ? ' (this one)' : ''}
        </>
      ),
    },
    { key: 'roles', head: 'Roles', value: ({ roles }) => roles.join(', ') },
    {
      key: 'at',
      head: 'Signed in',
      value: ({ at }) => at,
      isTime: true,
    },
    {
      key: 'lastSeen',
      head: 'Last used',
      value: ({ lastSeen }) => lastSeen,
      isTime: true,
    },
    {
      key: 'until',
      head: 'Ends',
      value: ({ until }) => until,
      isTime: true,
    },
    {
      key: 'end',
      head: '',
      value: () => undefined,
      cell: ({ id, who }) => (
        <Button
          size="compact-xs"
          variant="default"
          disabled={!may}
          aria-label={`End the session of ${who}`}
          onClick={() => end.mutate({ given: { params: { id } } })}
        >
          End
        </Button>
      ),
    },
  ];
  return (
    <Loaded of={sessions}>
      {({ sessions: all }) => (
        <DataTable
          name="sessions"
          title="Sessions"
          rows={all}
          columns={columns}
          keyOf={({ id }) => id}
          empty={<Empty what="Nobody is signed in with a session." />}
        />
      )}
    </Loaded>
  );
}
