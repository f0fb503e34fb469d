import { ALL_LAYERS, type Layers } from './kinds.ts';
import type { Camera } from './stage/stage.ts';

/** How the estate is looked at: as a map, or as a matrix. */
export type Mode = 'map' | 'matrix';

/** Where somebody was on the map: kept while they read another page. */
export interface Place {
  mode: Mode;
  layers: Layers;
  camera: Camera | undefined;
  /** Groups that were opened or closed by hand. */
  opened: ReadonlyMap<string, boolean>;
  selected: string | undefined;
}

export const place: Place = {
  mode: 'map',
  layers: ALL_LAYERS,
  camera: undefined,
  opened: new Map(),
  selected: undefined,
};
