// WebGL 2: draws sets of meshes side by side with one camera, and tells what lies under a point.

const VERTEX_SHADER = `#version 300 es
in vec3 position, normal;
in float deviation;
uniform mat3 turn;        // rows: right, up, towards the viewer
uniform vec3 center, scale;
uniform vec2 shift;
out vec3 facing;
out float distance_mm;
void main() {
  vec3 p = turn * (position - center);
  facing = turn * normal;
  distance_mm = deviation;
  gl_Position = vec4(p.xy * scale.xy + shift, -p.z * scale.z, 1.0);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 facing;
in float distance_mm;
uniform vec3 color;
uniform float range_mm;   // 0: colour of the level, otherwise colours of the deviation up to this
uniform float id;         // above 0: write what is here instead of drawing it
out vec4 pixel;
vec3 diverging(float t) {
  vec3 middle = vec3(0.95, 0.94, 0.92);
  return t < 0.0 ? mix(middle, vec3(0.13, 0.35, 0.80), min(-t, 1.0)) : mix(middle, vec3(0.80, 0.11, 0.16), min(t, 1.0));
}
void main() {
  if (id > 0.0) {
    float coded = clamp(distance_mm / 0.01 + 32768.0, 0.0, 65535.0);
    pixel = vec4(id, floor(coded / 256.0), floor(mod(coded, 256.0)), 255.0) / 255.0;
    return;
  }
  vec3 n = normalize(facing);
  float key = max(dot(n, normalize(vec3(-0.35, 0.55, 0.8))), 0.0);
  float fill = max(dot(n, normalize(vec3(0.7, -0.2, 0.4))), 0.0);
  float rim = pow(1.0 - abs(n.z), 3.0);
  vec3 base = range_mm > 0.0 ? diverging(distance_mm / range_mm) : color;
  pixel = vec4(base * (0.30 + 0.62 * key + 0.16 * fill) + 0.10 * rim, 1.0);
}`;

class Renderer {
  constructor(canvas, sets) {
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser offers no WebGL 2");
    this.gl = gl;
    this.canvas = canvas;
    this.program = this.link();
    this.at = (name) => gl.getUniformLocation(this.program, name);
    this.sets = Object.fromEntries(Object.entries(sets).map(([name, meshes]) => [name, meshes.map((mesh) => this.upload(mesh))]));
    this.hidden = new Set();
  }

  link() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "shaders failed");
    return program;
  }

  upload(mesh) {
    const { gl } = this;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const attribute = (name, data, size) => {
      const place = gl.getAttribLocation(this.program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
    };
    attribute("position", mesh.positions, 3);
    attribute("normal", mesh.normals, 3);
    attribute("deviation", mesh.deviations, 1);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.faces, gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    const hex = Number.parseInt(LEVEL[mesh.level].color.slice(1), 16);
    return { ...mesh, array, count: mesh.faces.length, rgb: [hex >> 16, (hex >> 8) & 255, hex & 255].map((value) => value / 255) };
  }

  // Panels are {set, rangeMm}, side by side from left to right; the camera is {turn, centre, mmPerPx, shift, depthMm}.
  draw(panels, camera) {
    const { gl, canvas } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.drawPanels(panels, camera, false);
  }

  drawPanels(panels, camera, coded) {
    const { gl, canvas } = this;
    const width = canvas.width / panels.length;
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(this.program);
    gl.uniformMatrix3fv(this.at("turn"), false, camera.turn);
    gl.uniform3fv(this.at("center"), camera.centre);
    gl.uniform3f(this.at("scale"), 2 / (camera.mmPerPx * width), 2 / (camera.mmPerPx * canvas.height), 1 / camera.depthMm);
    gl.uniform2f(this.at("shift"), (2 * camera.shift[0]) / width, (2 * camera.shift[1]) / canvas.height);
    panels.forEach((panel, i) => {
      gl.viewport(Math.round(i * width), 0, Math.round(width), canvas.height);
      for (const mesh of this.sets[panel.set]) {
        if (this.hidden.has(mesh.level)) continue;
        gl.uniform3fv(this.at("color"), panel.rangeMm && !mesh.compared ? [0.42, 0.44, 0.48] : mesh.rgb);
        gl.uniform1f(this.at("range_mm"), mesh.compared ? panel.rangeMm : 0);
        gl.uniform1f(this.at("id"), coded ? LEVEL[mesh.level].index + 1 : 0);
        gl.bindVertexArray(mesh.array);
        gl.drawElements(gl.TRIANGLES, mesh.count, gl.UNSIGNED_INT, 0);
      }
    });
    gl.bindVertexArray(null);
  }

  // Level and deviation at a pixel of the canvas (from its top left), or null.
  pick(x, y, panels, camera) {
    const { gl, canvas } = this;
    if (this.target?.width !== canvas.width || this.target?.height !== canvas.height) this.makeTarget();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    if (this.target.camera !== camera) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      this.drawPanels(panels, camera, true);
      this.target.camera = camera;
    }
    const pixel = new Uint8Array(4);
    gl.readPixels(x, canvas.height - 1 - y, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    if (!pixel[0]) return null;
    return { level: LEVELS[pixel[0] - 1].name, deviationMm: (pixel[1] * 256 + pixel[2] - 32768) * 0.01 };
  }

  makeTarget() {
    const { gl, canvas } = this;
    const { width, height } = canvas;
    const frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    for (const [format, place] of [[gl.RGBA8, gl.COLOR_ATTACHMENT0], [gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]]) {
      const buffer = gl.createRenderbuffer();
      gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
      gl.renderbufferStorage(gl.RENDERBUFFER, format, width, height);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, place, gl.RENDERBUFFER, buffer);
    }
    this.target = { frame, width, height, camera: null };
  }

  release() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
