import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { read } from '../api/query.ts';
import { When } from '../parts/marks.tsx';
import { scopeText } from '../parts/words.ts';

/** On every page while enforcement is off somewhere. */
export function ReleasedBanner() {
  const { data } = useQuery(read('releases.list', {}));
  const releases = data?.releases.filter(({ drill }) => drill !== true) ?? [];
  const [first] = releases;
  if (first === undefined) return null;
  return (
    <div className="banner" role="status">
      <strong>
        Enforcement is off:{' '}
        {releases
          .map(({ scope }) => scopeText(scope))
          .slice(0, 3)
          .join(', ')}
      </strong>
      <span>
        since <When at={first.at} />, by {first.by}: {first.reason}
      </span>
      <Link to="/release" hash="releases">
        See, or arm: enforce again
      </Link>
    </div>
  );
}
