import { envoy } from './envoy/index.ts';
import { hubble } from './hubble/index.ts';
import { istio } from './istio/index.ts';
import { source as kubernetes } from './kubernetes/index.ts';
import { otlp } from './otlp/index.ts';
import type { Source } from './source.ts';

/** Every kind of recording that can be read. */
export const SOURCES: readonly Source[] = [otlp, envoy, istio, hubble, kubernetes];
/**
 * URL of the module that exports the source, for a thread that needs this one alone: loading all of them takes
 * longer than reading many a recording. Undefined for a source that is not in {@link SOURCES}.
 */
export function moduleOf(source: Source): string | undefined {
  if (!SOURCES.includes(source)) return undefined;
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./${source.format}/index.${extension}`, import.meta.url).href;
}
