import { Modal, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { read } from '../api/query.ts';
import { Stage } from '../parts/marks.tsx';
import { shortId } from '../parts/words.ts';
import { PAGES } from './keys.ts';

const MOST = 12;

/** Search for a workload or a page, by keyboard alone. */
export function Search({ isOpen, onClose }: { readonly isOpen: boolean; readonly onClose: () => void }) {
  return (
    <Modal
      opened={isOpen}
      onClose={onClose}
      title="Search"
      lockScroll={false}
      size="lg"
      transitionProps={{ duration: 0 }}
    >
      <Found onClose={onClose} />
    </Modal>
  );
}

function Found({ onClose }: { readonly onClose: () => void }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const navigate = useNavigate();
  const { data } = useQuery(read('workloads.list', { query: { limit: 10_000 } }));
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (name: string) => words.every((word) => name.toLowerCase().includes(word));
  const options = [
    ...(data?.workloads ?? [])
      .filter(({ id }) => has(id))
      .map(({ id, stage, share }) => ({
        key: id,
        label: shortId(id),
        hint: <Stage stage={stage} share={share} />,
        go: () =>
          navigate({ to: '/workloads/$workload', params: { workload: id.slice('spiffe://'.length) } }),
      })),
    ...PAGES.filter(({ label }) => has(label)).map(({ to, label }) => ({
      key: to,
      label,
      hint: <span className="dim">page</span>,
      go: () => navigate({ to }),
    })),
  ].slice(0, MOST);
  const chosen = options[Math.min(at, options.length - 1)];
  const go = (option: typeof chosen) => {
    if (option === undefined) return;
    onClose();
    void option.go();
  };
  return (
    <>
      <TextInput
        data-autofocus
        placeholder="Workload or page"
        aria-label="Search"
        role="combobox"
        aria-expanded
        aria-controls="found"
        aria-activedescendant={chosen === undefined ? undefined : `found-${chosen.key}`}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          if (event.key === 'ArrowDown') setAt(Math.min(at + 1, options.length - 1));
          else if (event.key === 'ArrowUp') setAt(Math.max(at - 1, 0));
          else if (event.key === 'Enter') go(chosen);
          else return;
          event.preventDefault();
        }}
      />
      <ul className="options" id="found" role="listbox" aria-label="Found">
        {options.map((option) => (
          <li
            key={option.key}
            id={`found-${option.key}`}
            role="option"
            aria-selected={option === chosen}
            onClick={() => go(option)}
            onKeyDown={undefined}
          >
            <div className="row spread">
              <span>{option.label}</span>
              {option.hint}
            </div>
          </li>
        ))}
      </ul>
      {options.length === 0 ? <div className="dim">Nothing has that name.</div> : null}
    </>
  );
}
