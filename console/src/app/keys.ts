import { useNavigate } from '@tanstack/react-router';
import { useEffect } from 'react';
import { isTyping } from '../parts/typing.ts';

/** The pages, by the key after "g". */
export const PAGES = [
  { key: 'm', to: '/', label: 'Map' },
  { key: 'w', to: '/workloads', label: 'Workloads' },
  { key: 'r', to: '/review', label: 'Review' },
  { key: 'i', to: '/identities', label: 'Identities' },
  { key: 'b', to: '/release', label: 'Release' },
  { key: 'a', to: '/audit', label: 'Audit' },
  { key: 's', to: '/settings', label: 'Settings' },
] as const;

/** How long the second key of two may take, milliseconds. */
const SECOND_MS = 1500;

/** The keys that work everywhere but where somebody types. */
export function useKeys({
  onSearch,
  onHelp,
}: {
  readonly onSearch: () => void;
  readonly onHelp: () => void;
}): void {
  const navigate = useNavigate();
  useEffect(() => {
    let since = Number.NEGATIVE_INFINITY;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const isSecond = event.timeStamp - since < SECOND_MS;
      since = Number.NEGATIVE_INFINITY;
      if (isSecond) {
        const page = PAGES.find(({ key }) => key === event.key);
        if (page !== undefined) void navigate({ to: page.to });
        return;
      }
      if (event.key === 'g') since = event.timeStamp;
      else if (event.key === '?') onHelp();
      else if (event.key === '/') {
        // Else it is the first letter of the search.
        event.preventDefault();
        onSearch();
      }
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, [navigate, onSearch, onHelp]);
}
