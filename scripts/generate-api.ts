import { ROUTE_NAMES, ROUTES } from '../src/api/index.ts';

const MARKED = /(<!-- routes -->\n).*?(\n<!-- \/routes -->)/s;

/** docs/api.md as it is, with the table of routes as it is today between its two marks. */
export function withRoutes(text: string): string {
  if (!MARKED.test(text)) throw new Error('docs/api.md has lost the marks around its table of routes');
  const rows = ROUTE_NAMES.map((name) => {
    const { method, path, need, summary } = ROUTES[name];
    return `| \`${name}\` | \`${method} ${path}\` | ${need} | ${summary} |`;
  });
  const table = ['| name | route | needs | what it is for |', '|---|---|---|---|', ...rows].join('\n');
  return text.replace(MARKED, (_, start, end) => `${start}${table}${end}`);
}
