import { CopyButton, UnstyledButton } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ClipboardEvent } from 'react';
import { durationText, exactTime, number, shortId } from './words.ts';
import { useNow } from './now.ts';

/** How far a time is from now; the exact one on hover. */
export function When({ at }: { readonly at: number | undefined }) {
  const now = useNow();
  if (at === undefined) return <span className="dim">never</span>;
  // What has just happened is not to come, though this clock ticks once a second.
  const isAhead = at > now + 2000;
  const far = durationText(isAhead ? at - now : Math.max(0, now - at));
  return (
    <time dateTime={new Date(at).toISOString()} title={exactTime(at)}>
      {isAhead ? `in ${far}` : `${far} ago`}
    </time>
  );
}

const copyWhole = (id: string) => (event: ClipboardEvent) => {
  // Only where nothing but the name is selected.
  if (window.getSelection()?.toString().trim() !== shortId(id)) return;
  event.clipboardData.setData('text/plain', id);
  event.preventDefault();
};

/** A principal by what tells it apart; whole on hover and when copied. */
export function Id({ id }: { readonly id: string }) {
  return (
    <span title={id} onCopy={copyWhole(id)} className="break">
      {shortId(id)}
    </span>
  );
}

/** The same, leading to the workload's page where it is one. */
export function IdLink({ id }: { readonly id: string }) {
  if (!id.startsWith('spiffe://')) return <Id id={id} />;
  return (
    <Link to="/workloads/$workload" params={{ workload: id.slice('spiffe://'.length) }}>
      <Id id={id} />
    </Link>
  );
}

/** What is told apart by its first digits, as a serial number or a commit is; whole on hover. */
export function LongId({ id }: { readonly id: string }) {
  return <code title={id}>{id.slice(0, 10)}</code>;
}

/** A small button that copies. */
export function Copy({ text, what }: { readonly text: string; readonly what: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <UnstyledButton onClick={copy} className="dim" fz={12} aria-label={`Copy ${what}`}>
          {copied ? 'copied' : 'copy'}
        </UnstyledButton>
      )}
    </CopyButton>
  );
}

export type Meaning = 'allowed' | 'would-deny' | 'denied' | 'plaintext' | 'unused' | 'fresh' | 'plain';

/** A word with the colour and the form of its meaning. */
export function Mark({ is, children }: { readonly is: Meaning; readonly children: React.ReactNode }) {
  return <span className={`mark ${is}`}>{children}</span>;
}

const STEPS = ['draft', 'shadow', 'canary', 'enforced'] as const;

/** How far a workload has come: four steps, filled up to its stage. */
export function Stage({
  stage,
  share,
}: {
  readonly stage: string | undefined;
  readonly share?: number | undefined;
}) {
  const at = STEPS.findIndex((step) => step === stage);
  return (
    <span className="stage">
      <i aria-hidden>
        {STEPS.map((step, i) => (
          <b key={step} data-on={i <= at || undefined} />
        ))}
      </i>
      {stage ?? <span className="dim">no policy</span>}
      {stage === 'canary' && share !== undefined ? ` ${Math.round(share * 100)} %` : ''}
    </span>
  );
}

const STATES = {
  open: ['plain', 'no policy'],
  allowed: ['allowed', 'allowed'],
  denied: ['denied', 'denied'],
  'would-deny': ['would-deny', 'would be denied'],
  'would-allow': ['allowed', 'would be allowed'],
  unused: ['unused', 'unused'],
} as const;

/** How an access stands. */
export function AccessState({ state }: { readonly state: keyof typeof STATES }) {
  const [is, text] = STATES[state];
  return <Mark is={is}>{text}</Mark>;
}

/** A number that says nothing where it is zero. */
export function Count({ n, is }: { readonly n: number; readonly is?: Meaning }) {
  if (n === 0) return <span className="dim">0</span>;
  return is === undefined ? number(n) : <Mark is={is}>{number(n)}</Mark>;
}

/** A sentence of the control plane: the IDs in it are shortened, the whole stands on hover. */
export function Sentence({ text }: { readonly text: string }) {
  const short = text.replaceAll(/spiffe:\/\/[^\s,;()"]+/g, shortId);
  return <span title={short === text ? undefined : text}>{short}</span>;
}
