import { Modal } from '@mantine/core';
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
      <dl className="facts keys">
        {keys.map(([key, what]) => (
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
    </Modal>
  );
}
