/** The namespace whose workloads are all those below a prefix: "" for every namespace, undefined for none. */
export function namespaceBelow(prefix: string): string | undefined {
  const path = prefix.slice(prefix.indexOf('/', 9));
  if (path === '/ns/') return '';
  return /^\/ns\/([^/]+)\/(sa\/)?$/.exec(path)?.[1];
}
