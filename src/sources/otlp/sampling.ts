/**
 * The share of traces that is kept, from a span's `traceState`; undefined where it does not say or all are kept.
 * `ot=th:T` is OpenTelemetry's rejection threshold (tracestate-probability-sampling: T is up to 14 hex digits,
 * padded on the right with zeros; kept is 1 - T / 2^56); `ot=p:N` is its older form (kept is 2^-N, 63 is none).
 */
export function ratioOf(traceState: unknown): number | undefined {
  // W3C Trace Context allows 512 characters for combined tracestate and asks for no more.
  if (typeof traceState !== 'string' || traceState === '' || traceState.length > 4096) return undefined;
  const vendor = /(?:^|,)\s*ot=([^,]*)/.exec(traceState)?.[1];
  if (vendor === undefined) return undefined;
  const threshold = /(?:^|;)th:([0-9a-f]{1,14})(?:;|$)/.exec(vendor)?.[1];
  if (threshold !== undefined) {
    const kept = 1 - Number.parseInt(threshold.padEnd(14, '0'), 16) / 2 ** 56;
    return kept > 0 && kept < 1 ? kept : undefined;
  }
  const power = Number(/(?:^|;)p:(\d{1,2})(?:;|$)/.exec(vendor)?.[1] ?? 0);
  return power > 0 && power < 63 ? 2 ** -power : undefined;
}

/** The share in words that two equal shares have in common: `10 % of traces kept`. */
export function ratioText(ratio: number): string {
  return `${Number((ratio * 100).toPrecision(3))} % of traces kept`;
}
