import { Autocomplete } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { shortId } from '../parts/words.ts';
import { found } from './group.ts';
import type { MapModel } from './model.ts';

interface Props {
  readonly model: MapModel;
  readonly onFound: (id: string) => void;
}

/** Finds a workload or a namespace on the map; `f` leads to it. */
export function Find({ model, onFound }: Props) {
  const [text, setText] = useState('');
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isTyping =
        event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key !== 'f' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      input.current?.focus();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
  const hits = found(model, text, 12);
  const labels = new Map(
    hits.map((hit) => ['places' in hit ? `${hit.name} (namespace)` : shortId(hit.id), hit.id]),
  );
  const choose = (label: string) => {
    const id = labels.get(label) ?? hits[0]?.id;
    if (id === undefined) return;
    setText('');
    onFound(id);
    input.current?.blur();
  };
  return (
    <Autocomplete
      ref={input}
      size="xs"
      w={230}
      placeholder="Find on the map (f)"
      aria-label="Find on the map"
      value={text}
      // The name of what was chosen is no search.
      onChange={(value) => setText(labels.has(value) ? '' : value)}
      onOptionSubmit={choose}
      data={[...labels.keys()]}
      filter={({ options }) => options}
      selectFirstOptionOnChange
      comboboxProps={{ transitionProps: { duration: 0 } }}
    />
  );
}
