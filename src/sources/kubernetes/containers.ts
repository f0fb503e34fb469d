import type { ContainerPort, Declaration, WorkloadFact } from '../../access/index.ts';
import type { Fields } from './fields.ts';
import { hostsOfVariables, type Variable } from './hosts.ts';

/** What a pod's specification says that matters for access. */
export interface PodSpec {
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  readonly ports: readonly ContainerPort[];
  readonly images: readonly string[];
  readonly declares: readonly Declaration[];
  readonly configMaps: WorkloadFact['configMaps'];
}

type By = Declaration['by'];
type ConfigMapUse = WorkloadFact['configMaps'][number];

/** A variable with the place where a person finds it. */
interface Setting extends Variable {
  readonly where: string;
}

/** Longest value that `$(NAME)` references are put into; what would grow beyond it stays as it is written. */
const MAX_EXPANDED = 32_768;
/** What references may add to the values of one container, in UTF-16 units: more than Linux lets a program start with. */
const MAX_ADDED = 4 * 1024 * 1024;
/** Most times that the containers of one pod use a config map or one of its keys: each use is one host or many. */
const MAX_CONFIG_MAP_USES = 2000;

/** Reads a pod's (or a pod template's) specification. Throws WrongField. */
export function readPodSpec(spec: Fields): PodSpec {
  const containers = spec.list('containers').map((fields) => ({ fields, by: 'container' as By }));
  for (const fields of spec.list('initContainers')) {
    // An init container that always restarts is a sidecar: it runs beside the others.
    containers.push({ fields, by: fields.text('restartPolicy') === 'Always' ? 'container' : 'init' });
  }
  const serving = containers.filter(({ by }) => by === 'container');
  return {
    serviceAccount: spec.text('serviceAccountName') || spec.text('serviceAccount') || 'default',
    hostNetwork: spec.flag('hostNetwork'),
    ports: serving.flatMap(({ fields }) => readPorts(fields)),
    images: serving.flatMap(({ fields }) => fields.text('image') ?? []),
    declares: containers.flatMap(({ fields, by }) => readDeclarations(fields, by)),
    configMaps: readConfigMaps(spec, containers),
  };
}

function readPorts(container: Fields): ContainerPort[] {
  return container.list('ports').flatMap((fields) => {
    const port = fields.port('containerPort');
    if (port === undefined) throw fields.wrong('containerPort', 'is missing');
    if (!isTcp(fields)) return [];
    const name = fields.text('name');
    return [{ ...(name === undefined ? {} : { name }), port }];
  });
}

/** Interlock governs TCP; ports of other protocols are left out. Kubernetes' default is TCP. */
export function isTcp(port: Fields): boolean {
  return (port.text('protocol') ?? 'TCP').toUpperCase() === 'TCP';
}

function readDeclarations(container: Fields, by: By): Declaration[] {
  const place = placeOf(container, by);
  const values = new Variables();
  const env = readEnv(container, place, values);
  const settings = [...env, ...readArguments(container, ['command', 'args'], values, 'argument', place)];
  const hooks = ['postStart', 'preStop'].flatMap((hook) =>
    readArguments(container.in('lifecycle').in(hook).in('exec'), ['command'], values, `${hook} hook`, place),
  );
  return [
    ...declarations([...settings, ...hooks], by),
    ...['startupProbe', 'readinessProbe', 'livenessProbe'].flatMap((probe) =>
      readProbe(container, probe, values, place),
    ),
  ];
}

function readProbe(container: Fields, name: string, values: Variables, place: string): Declaration[] {
  const probe = container.maybe(name);
  if (probe === undefined) return [];
  const what = `${name.replace('Probe', '')} probe`;
  const found = declarations(readArguments(probe.in('exec'), ['command'], values, what, place), 'probe');
  for (const kind of ['httpGet', 'tcpSocket']) {
    const target = probe.in(kind);
    const host = target.text('host');
    const port = target.portOrName('port');
    if (host === undefined || typeof port !== 'number') continue;
    found.push(
      ...declarations([{ name: 'host', value: `${host}:${port}`, where: `${what}${place}` }], 'probe'),
    );
  }
  return found;
}

function declarations(settings: readonly Setting[], by: By): Declaration[] {
  return hostsOfVariables(settings).map(({ variable, host }) =>
    Object.assign({ where: variable.where, by }, host),
  );
}

/** Literal variables, with references to earlier ones put in. Values that stand elsewhere are not known here. */
function readEnv(container: Fields, place: string, values: Variables): Setting[] {
  // Of variables of one name, the last one counts.
  const settings = new Map<string, Setting>();
  for (const variable of container.list('env')) {
    const name = envName(variable);
    const written = variable.text('value');
    if (written === undefined) continue;
    const value = values.expand(written);
    values.set(name, value);
    settings.set(name, { name, value, where: `env ${name}${place}` });
  }
  return [...settings.values()];
}

/** Arguments as settings: `--redis-host=x` and `--redis-host x` are named by their flag. */
function readArguments(
  container: Fields,
  keys: readonly string[],
  values: Variables,
  what: string,
  place: string,
): Setting[] {
  const words = keys.flatMap((key) => container.texts(key)).map((word) => values.expand(word));
  const settings: Setting[] = [];
  for (const [i, word] of words.entries()) {
    const [, flag, value] = /^--?([A-Za-z][\w.-]{0,100})(?:=([^]*))?$/.exec(word) ?? [];
    if (flag === undefined) {
      const before = /^--?([A-Za-z][\w.-]{0,100})$/.exec(words[i - 1] ?? '')?.[1];
      const name = before === undefined ? what : `${what} ${words[i - 1]}`;
      settings.push({ name: before ?? '', value: word, where: `${name}${place}` });
    } else if (value !== undefined) {
      settings.push({ name: flag, value, where: `${what} ${word.slice(0, word.indexOf('='))}${place}` });
    }
  }
  return settings;
}

/** The variables of one container so far, to be put into later values. */
class Variables {
  readonly #values = new Map<string, string>();
  #room = MAX_ADDED;

  set(name: string, value: string): void {
    this.#values.set(name, value);
  }

  /** Kubernetes' dependent variables: `$(NAME)` is a known variable's value, `$$` a dollar sign. */
  expand(text: string): string {
    if (!text.includes('$')) return text;
    const expanded = text
      .slice(0, MAX_EXPANDED)
      .replace(/\$\$|\$\(([\w.-]{1,253})\)/g, (written, name: string | undefined) =>
        name === undefined ? '$' : (this.#values.get(name) ?? written),
      );
    const added = Math.max(0, expanded.length - text.length);
    if (expanded.length > MAX_EXPANDED || added > this.#room) return text;
    this.#room -= added;
    return expanded;
  }
}

function readConfigMaps(spec: Fields, containers: readonly { fields: Fields; by: By }[]): ConfigMapUse[] {
  const all = [
    ...containers.flatMap(({ fields, by }) => readEnvConfigMaps(fields, by)),
    ...readVolumes(spec, containers),
  ];
  if (all.length > MAX_CONFIG_MAP_USES) {
    throw spec.wrong('containers', `use config maps more than ${MAX_CONFIG_MAP_USES} times`);
  }
  return all;
}

function readEnvConfigMaps(container: Fields, by: By): ConfigMapUse[] {
  const place = placeOf(container, by);
  const uses: ConfigMapUse[] = [];
  for (const variable of container.list('env')) {
    const ref = variable.in('valueFrom').maybe('configMapKeyRef');
    if (ref === undefined) continue;
    const where = `env ${envName(variable)}${place}`;
    uses.push({ name: ref.name('name'), key: ref.name('key'), by, where });
  }
  for (const from of container.list('envFrom')) {
    const ref = from.maybe('configMapRef');
    if (ref !== undefined) uses.push({ name: ref.name('name'), by, where: `envFrom${place}` });
  }
  return uses;
}

/** Config maps in volumes that a container mounts; one more than may be where there are too many. */
function readVolumes(spec: Fields, containers: readonly { fields: Fields; by: By }[]): ConfigMapUse[] {
  const mounted = new Map<string, Map<string, By>>();
  for (const { fields, by } of containers) {
    for (const mount of fields.list('volumeMounts')) {
      const volume = mount.name('name');
      const places = mounted.get(volume) ?? new Map<string, By>();
      mounted.set(volume, places.set(placeOf(fields, by), by));
    }
  }
  const uses: ConfigMapUse[] = [];
  const seen = new Set<string>();
  for (const volume of spec.list('volumes')) {
    const name = volume.name('name');
    // Names of volumes are unique in a pod; a second one of a name would not be accepted by a cluster.
    if (seen.has(name)) continue;
    seen.add(name);
    const maps = [volume, ...volume.in('projected').list('sources')].flatMap(
      (v) => v.maybe('configMap') ?? [],
    );
    for (const map of maps) {
      const keys = map.list('items').map((item) => ({ key: item.name('key') }));
      for (const [place, by] of mounted.get(name) ?? []) {
        for (const key of keys.length === 0 ? [{}] : keys) {
          if (uses.length > MAX_CONFIG_MAP_USES) return uses;
          uses.push({ name: map.name('name'), ...key, by, where: `volume ${name}${place}` });
        }
      }
    }
  }
  return uses;
}

/** A variable's name as it can be shown: newer Kubernetes allows any printable character in it. */
function envName(variable: Fields): string {
  const name = variable.text('name');
  if (name === undefined || name === '') throw variable.wrong('name', 'is missing');
  return name.slice(0, 253).replace(/[^\x21-\x7e]/g, '?');
}

function placeOf(container: Fields, by: By): string {
  return ` of ${by === 'init' ? 'init container' : 'container'} ${container.name('name')}`;
}
