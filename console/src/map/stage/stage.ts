import StageGraph from 'graphology';
import { Sigma } from 'sigma';
import type { Settings } from 'sigma/settings';
import { boxAt, extentOf, type Layout } from '../layout.ts';
import type { MapModel } from '../model.ts';
import { INK, type LineLook, type NodeLook, type Painted, type Scheme } from '../paint.ts';
import { drawEdgeLabel, drawHover, drawNodeLabel, drawRooms } from './draw.ts';
import { DashedArrows } from './edge-program.ts';
import { LabelSpace } from './label-space.ts';
import { NodeShapes } from './node-program.ts';

/** What a person does on the stage. */
export interface StageEvents {
  /** A node, a line, a group by its room; undefined for the ground. */
  readonly onSelect: (id: string | undefined) => void;
  /** A group is to be opened or closed. */
  readonly onToggle: (group: string) => void;
  /** The view came to rest. */
  readonly onMoved: () => void;
}

/** Where somebody looks: centre and width of what is seen, so that it can be taken up again. */
export interface Camera {
  readonly x: number;
  readonly y: number;
  readonly ratio: number;
}

/** Above so many lines, frames that move are kept fast by leaving labels out of them. */
export const MANY_LINES = 2000;
/** Above so many nodes, names would cover one another: fewer are written until one zooms in. */
const MANY_NODES = 150;
/** From this width on nodes have their whole size, pixels; on a narrower stage they are down to so many times smaller. */
const WIDE_PX = 700;
const MOST_SHRUNK = 2;
/** Nodes that are drawn smaller have no name beside them. */
const LABELLED_PX = 5;

/** What draws WebGL here, as it names itself; undefined where nothing does. */
let renderer: { readonly name: string | undefined } | undefined;

/** Asked once: a context takes a while, and a first one waits for the process that draws. */
function rendererName(): string | undefined {
  if (renderer !== undefined) return renderer.name;
  const gl = document.createElement('canvas').getContext('webgl2');
  const info = gl?.getExtension('WEBGL_debug_renderer_info');
  const name =
    info === null || info === undefined ? '' : String(gl?.getParameter(info.UNMASKED_RENDERER_WEBGL));
  renderer = { name: gl === null ? undefined : name };
  gl?.getExtension('WEBGL_lose_context')?.loseContext();
  return renderer.name;
}

/** Whether the browser can draw the map. */
export const hasWebGl = (): boolean => rendererName() !== undefined;

/** Whether WebGL is drawn by the processor. */
export const isSoftwareDrawn = (): boolean => /swiftshader|llvmpipe|software/i.test(rendererName() ?? '');

/** The WebGL stage: takes complete pictures, and changes what differs. It never moves the camera by itself. */
export class Stage {
  readonly sigma: Sigma;
  readonly #graph = new StageGraph({ type: 'directed', multi: false, allowSelfLoops: true });
  readonly #isSoftware = isSoftwareDrawn();
  #layout: Layout | undefined;
  #model: MapModel | undefined;
  #open: ReadonlySet<string> = new Set();
  #selected: string | undefined;
  #scheme: Scheme = 'dark';
  /** By how much nodes are smaller than on a large screen: on a phone they would cover one another. */
  #shrink = 1;

  constructor(container: HTMLElement, events: StageEvents, camera: Camera | undefined) {
    const written = { names: new LabelSpace(), all: new LabelSpace() };
    this.sigma = new Sigma(this.#graph, container, {
      ...SETTINGS,
      defaultDrawNodeLabel: drawNodeLabel(written),
      defaultDrawEdgeLabel: drawEdgeLabel(written),
      zoomToSizeRatioFunction: (ratio) => Math.max(0.75, Math.sqrt(ratio)) * this.#shrink,
    });
    const fit = () => {
      this.#shrink = Math.max(1, Math.min(MOST_SHRUNK, WIDE_PX / (container.clientWidth + 1)));
      this.sigma.setSetting('labelRenderedSizeThreshold', LABELLED_PX / this.#shrink);
    };
    fit();
    this.sigma.on('resize', fit);
    this.sigma.on('beforeRender', () => {
      for (const space of Object.values(written)) space.clear();
    });
    if (camera !== undefined) this.sigma.getCamera().setState(camera);
    const ground = this.sigma.createCanvas('rooms', { beforeLayer: 'edges' });
    const names = this.sigma.createCanvas('room-names', { beforeLayer: 'labels' });
    for (const canvas of [ground, names]) canvas.style.pointerEvents = 'none';
    this.sigma.on('afterRender', () => this.#drawRooms(ground, names));
    this.#listen(events);
  }

  /** Shows a picture. */
  show(
    model: MapModel,
    layout: Layout,
    painted: Painted,
    { open, scheme, selected }: { open: ReadonlySet<string>; scheme: Scheme; selected: string | undefined },
  ): void {
    if (layout.boxes !== this.#layout?.boxes) {
      const { x, y } = extentOf(layout);
      this.sigma.setCustomBBox({ x, y: [-y[1], -y[0]] });
    }
    this.#layout = layout;
    this.#model = model;
    this.#open = open;
    this.#selected = selected;
    this.#scheme = scheme;
    const isMany = painted.lines.size > MANY_LINES;
    this.sigma.setSetting('hideLabelsOnMove', isMany);
    this.sigma.setSetting('hideEdgesOnMove', isMany && this.#isSoftware);
    this.sigma.setSetting('labelDensity', painted.nodes.size > MANY_NODES ? 0.5 : 3);
    this.sigma.setSetting('labelColor', { color: INK[scheme].text });
    this.#showNodes(layout, painted.nodes);
    this.#showLines(painted.lines);
    this.sigma.refresh();
  }

  get camera(): Camera {
    const { x, y, ratio } = this.sigma.getCamera().getState();
    return { x, y, ratio };
  }

  /** Brings a node or a group to the middle, near enough to be read. */
  async goTo(id: string): Promise<void> {
    const at = this.sigma.getNodeDisplayData(id);
    if (at === undefined) return;
    await this.sigma
      .getCamera()
      .animate({ x: at.x, y: at.y, ratio: Math.min(0.35, this.camera.ratio) }, { duration: 250 });
  }

  /** Shows all of it. */
  fit(): void {
    void this.sigma.getCamera().animatedReset({ duration: 200 });
  }

  /** Nearer (below 1) or farther. */
  zoom(by: number): void {
    void this.sigma.getCamera().animate({ ratio: this.camera.ratio * by }, { duration: 120 });
  }

  /** Moves the view by a share of its width and height. */
  pan(right: number, down: number): void {
    const { x, y, ratio } = this.camera;
    void this.sigma
      .getCamera()
      .animate({ x: x + right * ratio * 0.2, y: y - down * ratio * 0.2 }, { duration: 100 });
  }

  /** Groups whose room is in view, and the height of one workload's row in pixels. */
  inView(): { readonly groups: readonly string[]; readonly rowPx: number } {
    const { width, height } = this.sigma.getDimensions();
    const at = (x: number, y: number) => this.sigma.graphToViewport({ x, y: -y });
    const groups: string[] = [];
    for (const [id, box] of this.#layout?.boxes ?? []) {
      const a = at(box.x - box.w / 2, box.y - box.h / 2);
      const b = at(box.x + box.w / 2, box.y + box.h / 2);
      if (b.x > 0 && a.x < width && b.y > 0 && a.y < height) groups.push(id);
    }
    return { groups, rowPx: at(0, 1).y - at(0, 0).y };
  }

  end(): void {
    this.sigma.kill();
  }

  #listen({ onSelect, onToggle, onMoved }: StageEvents): void {
    const groupAt = (at: { x: number; y: number }) => {
      if (this.#layout === undefined) return undefined;
      const { x, y } = this.sigma.viewportToGraph(at);
      return boxAt(this.#layout, { x, y: -y });
    };
    this.sigma.on('clickNode', ({ node }) => onSelect(node));
    this.sigma.on('clickEdge', ({ edge }) => onSelect(edge));
    this.sigma.on('clickStage', ({ event }) => {
      const group = groupAt(event);
      onSelect(group !== undefined && this.#open.has(group) ? group : undefined);
    });
    this.sigma.on('doubleClickNode', (click) => {
      const { node } = click;
      click.preventSigmaDefault();
      onToggle(this.#model?.places.get(node)?.group ?? node);
    });
    this.sigma.on('doubleClickStage', (click) => {
      const group = groupAt(click.event);
      if (group === undefined) return;
      click.preventSigmaDefault();
      onToggle(group);
    });
    let timer: ReturnType<typeof setTimeout> | undefined;
    this.sigma.getCamera().on('updated', () => {
      clearTimeout(timer);
      timer = setTimeout(onMoved, 150);
    });
    this.sigma.on('kill', () => clearTimeout(timer));
    const cursor = (is: string) => () => {
      this.sigma.getContainer().style.cursor = is;
    };
    for (const type of ['enterNode', 'enterEdge'] as const) this.sigma.on(type, cursor('pointer'));
    for (const type of ['leaveNode', 'leaveEdge'] as const) this.sigma.on(type, cursor(''));
  }

  /** Takes out what is no longer shown, and changes what differs: the rest costs nothing. */
  #showNodes(layout: Layout, nodes: ReadonlyMap<string, NodeLook>): void {
    const graph = this.#graph;
    for (const id of graph.nodes()) if (!nodes.has(id)) graph.dropNode(id);
    const ground = INK[this.#scheme].ground;
    for (const [id, look] of nodes) {
      const at = layout.points.get(id) ?? layout.boxes.get(id);
      if (at === undefined) continue; // It came after this layout: the next one has it.
      const attributes = { ...look, type: 'shape', x: at.x, y: -at.y, ground };
      if (!graph.hasNode(id)) graph.addNode(id, attributes);
      else if (differs(graph.getNodeAttributes(id), attributes)) graph.replaceNodeAttributes(id, attributes);
    }
  }

  #showLines(lines: ReadonlyMap<string, LineLook>): void {
    const graph = this.#graph;
    for (const id of graph.edges()) if (!lines.has(id)) graph.dropEdge(id);
    for (const [id, look] of lines) {
      if (!graph.hasNode(look.from) || !graph.hasNode(look.to)) continue;
      const attributes = { ...look, type: 'arrow', forceLabel: look.label !== '' };
      if (!graph.hasEdge(id)) graph.addEdgeWithKey(id, look.from, look.to, attributes);
      else if (differs(graph.getEdgeAttributes(id), attributes)) graph.replaceEdgeAttributes(id, attributes);
    }
  }

  #drawRooms(...canvases: [HTMLCanvasElement, HTMLCanvasElement]): void {
    const [ground, names] = canvases.map((canvas) => this.#sized(canvas));
    if (ground === undefined || names === undefined || this.#layout === undefined) return;
    drawRooms(ground, names, this.sigma, {
      layout: this.#layout,
      model: this.#model,
      open: this.#open,
      selected: this.#selected,
      ink: INK[this.#scheme],
    });
  }

  /** Sigma sizes only its own canvases. */
  #sized(canvas: HTMLCanvasElement): CanvasRenderingContext2D | undefined {
    const { width, height } = this.sigma.getDimensions();
    const scale = window.devicePixelRatio;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext('2d');
    context?.setTransform(scale, 0, 0, scale, 0, 0);
    return context ?? undefined;
  }
}

/** Whether something is drawn otherwise than it is now. */
function differs(now: Readonly<Record<string, unknown>>, next: Readonly<Record<string, unknown>>): boolean {
  for (const name in next) if (now[name] !== next[name]) return true;
  return false;
}

const FONT = 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

const SETTINGS: Partial<Settings> = {
  allowInvalidContainer: true,
  nodeProgramClasses: { shape: NodeShapes },
  edgeProgramClasses: { arrow: DashedArrows },
  defaultNodeType: 'shape',
  defaultEdgeType: 'arrow',
  enableEdgeEvents: true,
  renderEdgeLabels: true,
  defaultDrawNodeHover: drawHover,
  labelFont: FONT,
  labelSize: 12,
  labelWeight: '500',
  labelDensity: 3,
  labelGridCellSize: 60,
  labelRenderedSizeThreshold: LABELLED_PX,
  edgeLabelFont: FONT,
  edgeLabelSize: 11,
  zIndex: true,
  minCameraRatio: 0.01,
  maxCameraRatio: 4,
  stagePadding: 24,
};
