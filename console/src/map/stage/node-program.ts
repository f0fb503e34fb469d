import { NodeProgram } from 'sigma/rendering';
import type { NodeDisplayData, RenderParams } from 'sigma/types';
import { floatColor } from 'sigma/utils';
import type { NodeLook } from '../paint.ts';

const VERTEX = /* glsl */ `
attribute vec4 a_id;
attribute vec4 a_color;
attribute vec4 a_ground;
attribute vec2 a_position;
attribute float a_size;
attribute float a_shape;
attribute float a_fill;
attribute vec2 a_corner;
uniform mat3 u_matrix;
uniform vec2 u_resolution;
uniform float u_sizeRatio;
varying vec4 v_color;
varying vec4 v_ground;
varying vec2 v_at;
varying float v_size;
varying float v_shape;
varying float v_fill;
const float bias = 255.0 / 254.0;
void main() {
  // One pixel more than the node on each side, for the soft edge.
  v_size = a_size / u_sizeRatio;
  v_at = a_corner * (v_size + 1.5);
  vec2 centre = (u_matrix * vec3(a_position, 1.0)).xy;
  gl_Position = vec4(centre + v_at * 2.0 / u_resolution, 0.0, 1.0);
  v_shape = a_shape;
  v_fill = a_fill;
  #ifdef PICKING_MODE
  v_color = a_id;
  #else
  v_color = a_color;
  #endif
  v_color.a *= bias;
  v_ground = a_ground;
  v_ground.a *= bias;
}`;

const FRAGMENT = /* glsl */ `
precision highp float;
varying vec4 v_color;
varying vec4 v_ground;
varying vec2 v_at;
varying float v_size;
varying float v_shape;
varying float v_fill;
// How far inside the shape a point is, in pixels: a disc, a square with round corners, a diamond.
float inside(float size) {
  if (v_shape < 0.5) return size - length(v_at);
  if (v_shape < 1.5) {
    vec2 d = abs(v_at) - vec2(size * 0.9 - 3.0);
    return 3.0 - length(max(d, 0.0)) - min(max(d.x, d.y), 0.0);
  }
  return (size - abs(v_at.x) - abs(v_at.y)) * 0.7071;
}
void main(void) {
  float depth = inside(v_size);
  #ifdef PICKING_MODE
  if (depth < 0.0) discard;
  gl_FragColor = v_color;
  #else
  // A line around it, and the inner part filled as far as the stage has come.
  float rim = 1.0 - smoothstep(1.4, 2.2, depth);
  float core = smoothstep(-0.5, 0.5, depth - v_size * (1.0 - v_fill) * 0.85) * step(0.01, v_fill);
  vec4 color = mix(v_ground, v_color, max(rim, core));
  float cover = smoothstep(-0.7, 0.5, depth) * color.a;
  gl_FragColor = vec4(color.rgb * cover, cover);
  #endif
}`;

const UNIFORMS = ['u_matrix', 'u_resolution', 'u_sizeRatio'] as const;

/** Discs, squares and diamonds, filled by stage. */
export class NodeShapes extends NodeProgram<(typeof UNIFORMS)[number]> {
  override getDefinition() {
    const { FLOAT, UNSIGNED_BYTE, TRIANGLES } = WebGLRenderingContext;
    const color = { size: 4, type: UNSIGNED_BYTE, normalized: true };
    return {
      VERTICES: 6,
      VERTEX_SHADER_SOURCE: VERTEX,
      FRAGMENT_SHADER_SOURCE: FRAGMENT,
      METHOD: TRIANGLES,
      UNIFORMS,
      ATTRIBUTES: [
        { name: 'a_position', size: 2, type: FLOAT },
        { name: 'a_size', size: 1, type: FLOAT },
        { name: 'a_shape', size: 1, type: FLOAT },
        { name: 'a_fill', size: 1, type: FLOAT },
        { name: 'a_color', ...color },
        { name: 'a_ground', ...color },
        { name: 'a_id', ...color },
      ],
      CONSTANT_ATTRIBUTES: [{ name: 'a_corner', size: 2, type: FLOAT }],
      CONSTANT_DATA: [
        [-1, -1],
        [1, -1],
        [1, 1],
        [-1, -1],
        [1, 1],
        [-1, 1],
      ],
    };
  }

  override processVisibleItem(index: number, start: number, data: NodeDisplayData): void {
    // The look of a node is what the stage puts into the graph.
    const { shape, fill, ground } = data as NodeDisplayData & NodeLook & { readonly ground: string };
    this.array.set(
      [data.x, data.y, data.size, shape, fill, floatColor(data.color), floatColor(ground), index],
      start,
    );
  }

  override setUniforms(params: RenderParams, { gl, uniformLocations }: NodeShapes['normalProgram']): void {
    gl.uniformMatrix3fv(uniformLocations['u_matrix'] ?? null, false, params.matrix);
    gl.uniform2f(uniformLocations['u_resolution'] ?? null, params.width, params.height);
    gl.uniform1f(uniformLocations['u_sizeRatio'] ?? null, params.sizeRatio);
  }
}
