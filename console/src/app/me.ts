import { useQuery } from '@tanstack/react-query';
import { type Role, ROUTES, type RouteName } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';

/** Whether the person may use a route. It only decides what is offered: the control plane refuses by itself. */
export function useMay(): (name: RouteName) => boolean {
  const { data } = useQuery(read('me.get', {}));
  return (name) => {
    if (data === undefined) return false;
    const { need } = ROUTES[name];
    if (data.isLocal || need === 'anyone') return true;
    if (need === 'local') return false;
    return need === 'viewer' || data.roles.includes(need satisfies Role);
  };
}
