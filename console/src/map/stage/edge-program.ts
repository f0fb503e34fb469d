import { EdgeProgram } from 'sigma/rendering';
import type { EdgeDisplayData, NodeDisplayData, RenderParams } from 'sigma/types';
import { floatColor } from 'sigma/utils';
import type { LineLook } from '../paint.ts';

/** A line runs so far right of the middle, in pixels: the one that runs back has a place of its own. */
export const ASIDE_PX = 3;

const VERTEX = /* glsl */ `
attribute vec4 a_id;
attribute vec4 a_color;
attribute vec2 a_start;
attribute vec2 a_end;
attribute vec2 a_radii;
attribute float a_width;
attribute vec3 a_dash;
// Along: 0 start, 1 foot of the head, 2 tip. Across: side of the line.
attribute vec3 a_corner;
uniform mat3 u_matrix;
uniform vec2 u_resolution;
uniform float u_sizeRatio;
varying vec4 v_color;
varying vec3 v_dash;
varying float v_along;
varying float v_across;
varying float v_half;
const float bias = 255.0 / 254.0;
void main() {
  vec2 from = (u_matrix * vec3(a_start, 1.0)).xy * u_resolution * 0.5;
  vec2 to = (u_matrix * vec3(a_end, 1.0)).xy * u_resolution * 0.5;
  vec2 way = to - from;
  float far = max(length(way), 0.001);
  vec2 ahead = way / far;
  vec2 right = vec2(ahead.y, -ahead.x);
  float start = a_radii.x / u_sizeRatio + 1.0;
  float tip = far - a_radii.y / u_sizeRatio - 1.0;
  float half_ = max(a_width, 1.0) * 0.5;
  float head = min(5.0 + a_width * 1.6, max(tip - start, 0.0) * 0.6);
  float along = a_corner.x < 0.5 ? start : (a_corner.x < 1.5 ? tip - head : tip);
  // The head is wide at its foot, the line carries a pixel for its soft edge.
  float wide = a_corner.z > 0.5 ? head * 0.5 : half_ + 0.75;
  v_across = a_corner.z > 0.5 ? 0.0 : a_corner.y * wide;
  vec2 at = from + ahead * along + right * (a_corner.y * wide + ${ASIDE_PX.toFixed(1)});
  // Ends that lie on one another leave nothing to be drawn.
  gl_Position = tip <= start ? vec4(2.0, 2.0, 0.0, 1.0) : vec4(at * 2.0 / u_resolution, 0.0, 1.0);
  v_along = along - start;
  v_dash = a_corner.z > 0.5 ? vec3(1.0, 0.0, 0.0) : a_dash;
  v_half = half_;
  #ifdef PICKING_MODE
  v_color = a_id;
  #else
  v_color = a_color;
  #endif
  v_color.a *= bias;
}`;

const FRAGMENT = /* glsl */ `
precision highp float;
varying vec4 v_color;
varying vec3 v_dash;
varying float v_along;
varying float v_across;
varying float v_half;
void main(void) {
  #ifdef PICKING_MODE
  gl_FragColor = v_color;
  #else
  if (v_dash.y > 0.0) {
    float period = v_dash.x + v_dash.y + (v_dash.z > 0.0 ? v_dash.z + v_dash.y : 0.0);
    float at = mod(v_along, period);
    float dot_ = v_dash.x + v_dash.y;
    if (at > v_dash.x && !(v_dash.z > 0.0 && at > dot_ && at < dot_ + v_dash.z)) discard;
  }
  float cover = (1.0 - smoothstep(v_half - 0.25, v_half + 0.75, abs(v_across))) * v_color.a;
  gl_FragColor = vec4(v_color.rgb * cover, cover);
  #endif
}`;

const UNIFORMS = ['u_matrix', 'u_resolution', 'u_sizeRatio'] as const;

/** Straight arrows, dashed by kind, beside the middle so that both directions are seen. */
export class DashedArrows extends EdgeProgram<(typeof UNIFORMS)[number]> {
  override getDefinition() {
    const { FLOAT, UNSIGNED_BYTE, TRIANGLES } = WebGLRenderingContext;
    const color = { size: 4, type: UNSIGNED_BYTE, normalized: true };
    return {
      VERTICES: 9,
      VERTEX_SHADER_SOURCE: VERTEX,
      FRAGMENT_SHADER_SOURCE: FRAGMENT,
      METHOD: TRIANGLES,
      UNIFORMS,
      ATTRIBUTES: [
        { name: 'a_start', size: 2, type: FLOAT },
        { name: 'a_end', size: 2, type: FLOAT },
        { name: 'a_radii', size: 2, type: FLOAT },
        { name: 'a_width', size: 1, type: FLOAT },
        { name: 'a_dash', size: 3, type: FLOAT },
        { name: 'a_color', ...color },
        { name: 'a_id', ...color },
      ],
      CONSTANT_ATTRIBUTES: [{ name: 'a_corner', size: 3, type: FLOAT }],
      CONSTANT_DATA: [
        [0, -1, 0],
        [0, 1, 0],
        [1, 1, 0],
        [0, -1, 0],
        [1, 1, 0],
        [1, -1, 0],
        [1, -1, 1],
        [1, 1, 1],
        [2, 0, 1],
      ],
    };
  }

  override processVisibleItem(
    index: number,
    start: number,
    source: NodeDisplayData,
    target: NodeDisplayData,
    data: EdgeDisplayData,
  ): void {
    // The look of a line is what the stage puts into the graph.
    const { dash } = data as EdgeDisplayData & LineLook;
    const { array } = this;
    let i = start;
    array[i++] = source.x;
    array[i++] = source.y;
    array[i++] = target.x;
    array[i++] = target.y;
    array[i++] = source.size;
    array[i++] = target.size;
    array[i++] = data.size;
    array[i++] = dash[0];
    array[i++] = dash[1];
    array[i++] = dash[2];
    array[i++] = floatColor(data.color);
    array[i++] = index;
  }

  override setUniforms(params: RenderParams, { gl, uniformLocations }: DashedArrows['normalProgram']): void {
    gl.uniformMatrix3fv(uniformLocations['u_matrix'] ?? null, false, params.matrix);
    gl.uniform2f(uniformLocations['u_resolution'] ?? null, params.width, params.height);
    gl.uniform1f(uniformLocations['u_sizeRatio'] ?? null, params.sizeRatio);
  }
}
