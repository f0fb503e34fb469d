import { Button } from '@mantine/core';
import { Component } from 'react';
import { Refusal } from '../api/client.ts';

const TO_DO: Readonly<Record<string, string>> = {
  unreachable: 'See whether it runs: interlock authority show',
  forbidden: 'Ask somebody who has this role; Settings says which ones you have.',
  conflict: 'Somebody was faster, or a step was left out. Read it again, then decide.',
  unavailable: 'Try again in a moment.',
};

/** What was refused, as the control plane says it. */
export function Problem({ error, again }: { readonly error: Error; readonly again?: () => void }) {
  const code = error instanceof Refusal ? error.code : 'fault';
  const todo = TO_DO[code];
  return (
    <div className="banner" role="alert">
      <code>{code}</code>
      <span className="break">
        {error.message}
        {todo === undefined ? null : <span className="dim"> {todo}</span>}
      </span>
      {again === undefined ? null : (
        <Button size="compact-xs" variant="default" onClick={again}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** Nothing is there, and how to change that. */
export function Empty({
  what,
  todo,
  command,
}: {
  readonly what: string;
  readonly todo?: React.ReactNode;
  readonly command?: string;
}) {
  return (
    <div className="panel stack tight">
      <div>{what}</div>
      {todo === undefined ? null : <div className="dim">{todo}</div>}
      {command === undefined ? null : <pre className="code">{command}</pre>}
    </div>
  );
}

/** What reading has come to: an answer of one page, or of as many as were asked for. */
interface Reading<T> {
  readonly data: T | undefined;
  readonly error: Error | null;
  readonly refetch: () => unknown;
}

/** What was read, or why it was not. What was read before stays while it is read again. */
export function Loaded<T>({
  of,
  children,
}: {
  readonly of: Reading<T>;
  readonly children: (data: T) => React.ReactNode;
}) {
  const { data, error, refetch } = of;
  if (data === undefined)
    return error === null ? (
      <div className="dim">Reading...</div>
    ) : (
      <Problem error={error} again={() => void refetch()} />
    );
  return (
    <>
      {error === null ? null : <Problem error={error} again={() => void refetch()} />}
      {children(data)}
    </>
  );
}

interface BoundaryProps {
  readonly children: React.ReactNode;
  /** Another page is another try. */
  readonly at: string;
}

/** A page that fails takes no other down. */
export class Boundary extends Component<BoundaryProps, { readonly error: Error | undefined }> {
  override state = { error: undefined };

  static getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override componentDidUpdate(before: BoundaryProps) {
    if (before.at !== this.props.at && this.state.error !== undefined) this.setState({ error: undefined });
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return <Problem error={error} again={() => this.setState({ error: undefined })} />;
  }
}

/** Title of a page, and what can be done on it. */
export function PageHead({
  title,
  children,
}: {
  readonly title: React.ReactNode;
  readonly children?: React.ReactNode;
}) {
  return (
    <div className="row spread" style={{ marginBottom: 10 }}>
      <h1>{title}</h1>
      <div className="row">{children}</div>
    </div>
  );
}
