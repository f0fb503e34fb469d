import type { ProxyStatus } from './proxy.ts';

/** The proxy's numbers in Prometheus' text format (version 0.0.4). */
export function metricsText({
  counters,
  connections,
  spooled,
  stateVersion,
  online,
  judgeFaults,
  svidEnds,
}: ProxyStatus): string {
  const rows: readonly (readonly [name: string, type: 'counter' | 'gauge', help: string, value: number])[] = [
    ['accepted_total', 'counter', 'Inbound connections taken.', counters.accepted],
    ['refused_total', 'counter', 'Connections refused for want of authentication.', counters.refused],
    [
      'strangers_total',
      'counter',
      'Local connections refused because they may not go out as the workload.',
      counters.strangers,
    ],
    [
      'unreached_total',
      'counter',
      'Connections to peers that did not come about: nobody answered, or somebody else.',
      counters.unreached,
    ],
    ['busy_total', 'counter', 'Connections closed because there were too many.', counters.busy],
    [
      'bad_requests_total',
      'counter',
      'Requests that are not HTTP as its standard has it.',
      counters.badRequests,
    ],
    [
      'bad_answers_total',
      'counter',
      'Answers that are not HTTP as its standard has it.',
      counters.badAnswers,
    ],
    ['cut_total', 'counter', 'Connections that policy closed after a change.', counters.cut],
    ['judge_faults_total', 'counter', 'Verdicts that failed from within.', judgeFaults],
    ['connections', 'gauge', 'Open connections.', connections],
    ['spooled_reports', 'gauge', 'Reports that the control plane has not taken yet.', spooled],
    ['state_version', 'gauge', 'Version of the state in force.', stateVersion],
    ['control_plane_connected', 'gauge', '1 while the control plane is connected.', online ? 1 : 0],
    [
      'svid_ends_seconds',
      'gauge',
      'When the first SVID ends, seconds since 1970.',
      Math.floor(svidEnds / 1000),
    ],
  ];
  return rows
    .map(([name, type, help, value]) => {
      const full = `interlock_proxy_${name}`;
      return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${full} ${value}\n`;
    })
    .join('');
}
