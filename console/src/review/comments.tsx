import { Button } from '@mantine/core';
import { Id, When } from '../parts/marks.tsx';
import type { Review } from './items.ts';

/** What was said about a review, and about what of it. */
export function Comments({
  review,
  onAsk,
}: {
  readonly review: Review;
  readonly onAsk: (() => void) | undefined;
}) {
  const { comments, changes, questions } = review;
  if (comments.length === 0) return null;
  const nameOf = (about: string) =>
    changes.find(({ id }) => id === about)?.rule.name ?? questions.find(({ id }) => id === about)?.text;
  return (
    <section className="panel">
      <div className="row spread">
        <h2>Comments {comments.length}</h2>
        {onAsk === undefined ? null : (
          <Button size="compact-xs" variant="default" onClick={onAsk}>
            Answer
          </Button>
        )}
      </div>
      {comments.map(({ by, at, text, about }) => (
        <div className="comment" key={`${at} ${by} ${text}`}>
          <div className="row dim">
            <Id id={by} />
            <When at={at} />
            {about === undefined ? null : <span>about {nameOf(about) ?? 'what was decided since'}</span>}
          </div>
          <div className="break" style={{ whiteSpace: 'pre-wrap' }}>
            {text}
          </div>
        </div>
      ))}
    </section>
  );
}
