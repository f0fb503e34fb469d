import { Modal } from '@mantine/core';
import { REVIEW_KEYS } from '../review/keys.ts';
import { PAGES } from './keys.ts';

/** The keys. */
export function Help({ isOpen, onClose }: { readonly isOpen: boolean; readonly onClose: () => void }) {
  const keys: readonly (readonly [string, string])[] = [
    ['/', 'Search for a workload or a page'],
    ...PAGES.map(({ key, label }) => [`g ${key}`, label] as const),
    ['?', 'This list'],
    ['Esc', 'Close'],
  ];
  return (
    <Modal
      opened={isOpen}
      onClose={onClose}
      title="Keys"
      lockScroll={false}
      transitionProps={{ duration: 0 }}
    >
      <Keys of={keys} />
      <h2 style={{ margin: '12px 0 4px' }}>In a review</h2>
      <Keys of={REVIEW_KEYS} />
    </Modal>
  );
}

function Keys({ of }: { readonly of: readonly (readonly [string, string])[] }) {
  return (
    <dl className="facts keys">
      {of.map(([key, what]) => (
        <div key={key} style={{ display: 'contents' }}>
          <dt>
            {key.split(' ').map((each) => (
              <kbd key={each}>{each}</kbd>
            ))}
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}
