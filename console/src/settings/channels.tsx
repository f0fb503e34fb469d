import { Button } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { useMay } from '../app/me.ts';
import { useAct } from '../parts/act.tsx';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Count, Mark, When } from '../parts/marks.tsx';
import { Empty, Loaded } from '../parts/states.tsx';
import { counted } from '../parts/words.ts';

type Channel = Received<'notifications.list'>['channels'][number];

/** No event tells of a delivery: so often it is asked while somebody looks, milliseconds. */
const AGAIN_MS = 10_000;

const stateOf = ({ fault, failingSince, lastSentAt }: Channel) =>
  failingSince !== undefined
    ? `fails: ${fault ?? 'not said why'}`
    : lastSentAt === undefined
      ? 'nothing was sent yet'
      : 'works';

const narrowedOf = ({ only: { namespaces = [], tiers = [], owners = [] } }: Channel) =>
  [...namespaces, ...tiers, ...owners].join(', ');

const COLUMNS: readonly Column<Channel>[] = [
  { key: 'name', head: 'Channel', value: ({ name }) => name },
  { key: 'kind', head: 'Kind', value: ({ kind }) => kind },
  { key: 'host', head: 'To', value: ({ host }) => host, isWide: true },
  { key: 'on', head: 'Tells of', value: ({ on }) => on.join(', '), isWide: true },
  { key: 'only', head: 'Only', value: narrowedOf },
  {
    key: 'state',
    head: 'State',
    value: stateOf,
    cell: (channel) =>
      channel.failingSince === undefined ? (
        <span className={channel.lastSentAt === undefined ? 'dim' : ''}>{stateOf(channel)}</span>
      ) : (
        <Mark is="denied">
          {stateOf(channel)}, since <When at={channel.failingSince} />
        </Mark>
      ),
    isWide: true,
  },
  { key: 'lastSentAt', head: 'Last delivery', value: ({ lastSentAt }) => lastSentAt, isTime: true },
  { key: 'sent', head: 'Sent', value: ({ sent }) => sent, isNumber: true },
  {
    key: 'waiting',
    head: 'Waiting',
    value: ({ waiting }) => waiting,
    cell: ({ waiting }) => <Count n={waiting} is="would-deny" />,
    isNumber: true,
  },
  {
    key: 'lost',
    head: 'Not delivered',
    value: ({ gaveUp, dropped }) => gaveUp + dropped,
    cell: ({ gaveUp, dropped }) => <Count n={gaveUp + dropped} is="denied" />,
    isNumber: true,
  },
];

/** Who is told of what, and whether it arrives. */
export function Channels() {
  const channels = useQuery({ ...read('notifications.list', {}), refetchInterval: AGAIN_MS });
  const may = useMay()('notifications.test');
  const test = useAct(
    'notifications.test',
    ({ channel, isDelivered }) => (isDelivered ? `The test was delivered to ${channel}.` : undefined),
    ({ channel, isDelivered, fault }) => {
      if (isDelivered) return;
      const message = `The test did not reach ${channel}: ${fault ?? 'not said why'}`;
      notifications.show({ message, color: 'red', autoClose: false });
    },
  );
  const columns: readonly Column<Channel>[] = [
    ...COLUMNS,
    {
      key: 'test',
      head: '',
      value: () => undefined,
      cell: ({ name }) => (
        <Button
          size="compact-xs"
          variant="default"
          disabled={!may}
          title={may ? undefined : 'needs the role operator'}
          loading={test.isPending && test.variables.given.params.channel === name}
          aria-label={`Send a test to ${name}`}
          onClick={() => test.mutate({ given: { params: { channel: name } } })}
        >
          Test
        </Button>
      ),
    },
  ];
  return (
    <Loaded of={channels}>
      {({ channels: all, messages }) => (
        <>
          <DataTable
            name="channels"
            title="Notifications"
            rows={all}
            columns={columns}
            keyOf={({ name }) => name}
            empty={
              <div className="stack" style={{ gap: 6 }}>
                <h2>Notifications</h2>
                <Empty
                  what="Nobody is told of what happens."
                  todo="Name webhooks and Slack channels in a file (docs/notifications.md), and start with it:"
                  command="interlock up --notify notify.yaml"
                />
              </div>
            }
          />
          {messages.length === 0 ? null : (
            <div className="dim">
              {counted(messages.length, 'message')} {messages.length === 1 ? 'waits' : 'wait'}, the oldest
              since <When at={messages[0]?.at} />: {messages[0]?.summary}
            </div>
          )}
        </>
      )}
    </Loaded>
  );
}
