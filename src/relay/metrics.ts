import type { RelayStatus } from './relay.ts';

/** The relay's numbers in Prometheus' text format (version 0.0.4). */
export function metricsText(status: RelayStatus): string {
  const { envoys, verdict, logs, spooled, stateVersion, online, svidEnds, refused } = status;
  const skipped = Object.values(logs.skipped).reduce((sum, count) => sum + count, 0);
  const rows: readonly (readonly [name: string, type: 'counter' | 'gauge', help: string, value: number])[] = [
    ['envoys', 'gauge', 'Envoys that are connected.', envoys.length],
    [
      'confirmed',
      'gauge',
      '1 while Envoy has the newest state in force.',
      verdict.kind === 'confirmed' && refused === undefined ? 1 : 0,
    ],
    [
      'refused',
      'gauge',
      '1 while Envoy refuses the newest state.',
      verdict.kind === 'refused' || refused !== undefined ? 1 : 0,
    ],
    ['log_streams', 'gauge', 'Open streams of access logs.', logs.streams],
    ['log_entries_total', 'counter', 'Entries of access logs that became evidence.', logs.taken],
    ['log_entries_skipped_total', 'counter', 'Entries of access logs that were left out.', skipped],
    ['spooled_reports', 'gauge', 'Reports that the control plane has not taken yet.', spooled],
    ['state_version', 'gauge', 'Version of the newest state.', stateVersion],
    ['control_plane_connected', 'gauge', '1 while the control plane is connected.', online ? 1 : 0],
    ['svid_ends_seconds', 'gauge', 'When the SVID ends, seconds since 1970.', Math.floor(svidEnds / 1000)],
  ];
  return rows
    .map(([name, type, help, value]) => {
      const full = `interlock_relay_${name}`;
      return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${full} ${value}\n`;
    })
    .join('');
}
