import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { graphRead } from '../api/query.ts';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import type { GraphAnswer } from './kinds.ts';
import './map.css';
import { EstateMap } from './estate-map.tsx';
import { modelOf } from './model.ts';

/** The map: the access graph of the estate. */
export default function MapPage() {
  const graph = useQuery(graphRead);
  return <Loaded of={graph}>{(answer) => <Known answer={answer} />}</Loaded>;
}

function Known({ answer }: { readonly answer: GraphAnswer }) {
  const model = useMemo(() => modelOf(answer), [answer]);
  if (model.places.size === 0)
    return (
      <>
        <PageHead title="Map" />
        <Empty
          what="Nothing is on the map yet."
          todo="Take in a recording of what calls what, or put a proxy before a workload: what is seen shows up here by itself."
          command={
            'interlock observe manifests.yaml traces.otlp.jsonl.gz\ninterlock proxy proxy.yaml --server HOST:8443'
          }
        />
      </>
    );
  return <EstateMap model={model} />;
}
