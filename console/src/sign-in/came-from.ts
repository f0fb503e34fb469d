import { pageToReturn } from './faults.ts';

const KEY = 'interlock.came-from';

/** Keeps the page that somebody wanted, for when they come back by a link in this window. */
export function keepPlace(path: string): void {
  try {
    sessionStorage.setItem(KEY, path);
  } catch {
    // A browser that keeps nothing leads to the map instead.
  }
}

/** The page that was wanted, once. */
export function takePlace(): string {
  try {
    const path = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    return pageToReturn(path);
  } catch {
    return '/';
  }
}
