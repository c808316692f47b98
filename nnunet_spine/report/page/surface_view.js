// Interactive 3D: reference beside prediction in the levels' colours, or the prediction coloured by its deviation.

const VIEWPOINTS = { left: ["Left", 0], oblique: ["Oblique", -0.6], front: ["Front", -Math.PI / 2], back: ["Back", Math.PI / 2] };
const NAMES_PX = 50; // room for the names beside a spine
const RANGES_MM = { 2: "± 2 mm", 5: "± 5 mm", 10: "± 10 mm" };

async function surfaceView(entry) {
  const sets = await readMeshes(entry);
  const panels = Object.keys(sets).filter((name) => sets[name].length).map((set) => ({ set, title: set === "reference" ? "Reference" : "Prediction", rangeMm: 0 }));
  if (!panels.length) throw new Error("neither map has a vertebra");
  return meshViewer(entry, sets, panels, []);
}

async function deviationView(entry) {
  const sets = await readMeshes(entry);
  const panel = { set: "prediction", title: "Prediction, distance to the reference", rangeMm: 5 };
  const ticks = el("div", { class: "ticks" });
  const label = () => ticks.replaceChildren(...[-1, -0.5, 0, 0.5, 1].map((t) => el("span", {}, `${t > 0 ? "+" : ""}${number(t * panel.rangeMm, panel.rangeMm % 2 ? 1 : 0)}`)));
  label();
  const bar = el("div", { class: "colorbar" }, el("div", { class: "sides" }, el("span", {}, "inside"), el("span", {}, "mm"), el("span", {}, "outside")), el("div", { class: "gradient" }), ticks);
  const range = segmented("Range of the colours", RANGES_MM, "5", (value) => { panel.rangeMm = Number(value); label(); viewer.redraw(); });
  const viewer = meshViewer(entry, sets, [panel], [range], [bar]);
  return viewer;
}

function meshViewer(entry, sets, panels, controls, extras = []) {
  const canvas = el("canvas", { tabindex: "0", class: "surface", "aria-label": `Surfaces of ${entry.case}. Drag or use the arrow keys to turn, plus and minus to zoom, 0 to reset.` });
  const tooltip = el("div", { class: "tooltip", hidden: true });
  const names = el("div", { class: "names" });
  const titles = el("div", { class: "panel-titles", "aria-hidden": "true" }, panels.map((panel) => el("span", {}, panel.title)));
  const area = el("div", { class: "canvas-area" }, canvas, titles, names, tooltip);
  const drawn = panels.flatMap((panel) => sets[panel.set]);
  const { centre, halfHeight, halfWidth } = extentOf(drawn);
  const pose = { angle: VIEWPOINTS.oblique[1], tilt: 0.12, zoom: 1, shift: [0, 0] };
  let renderer, camera, waiting = false;

  const turnTo = segmented("Direction of view", Object.fromEntries(Object.entries(VIEWPOINTS).map(([key, [label]]) => [key, label])), "oblique",
    (key) => { Object.assign(pose, { angle: VIEWPOINTS[key][1], tilt: key === "oblique" ? 0.12 : 0, zoom: 1, shift: [0, 0] }); redraw(); });
  const showAll = el("button", { type: "button", class: "plain", click: () => { renderer.hidden.clear(); redraw(); } }, "Show all levels");
  const labels = panels.flatMap((panel, i) => sets[panel.set].map((mesh) => ({
    mesh, panel: i, node: el("button", { type: "button", class: "level-name", "aria-pressed": "true", title: `Show or hide ${mesh.level}`, click: () => toggle(mesh.level) }, levelDot(mesh.level), mesh.level),
  })));
  names.append(...labels.map((label) => label.node));

  function toggle(level) {
    if (!renderer.hidden.delete(level)) renderer.hidden.add(level);
    redraw();
  }

  function look() {
    const forward = [Math.cos(pose.tilt) * Math.cos(pose.angle), Math.cos(pose.tilt) * Math.sin(pose.angle), -Math.sin(pose.tilt)];
    const right = [Math.sin(pose.angle), -Math.cos(pose.angle), 0];
    const up = cross(right, forward);
    const width = canvas.width / panels.length - 2 * NAMES_PX * devicePixelRatio;
    const fit = Math.max((2.25 * halfHeight) / canvas.height, (2.1 * halfWidth) / Math.max(width, canvas.width / 8));
    const rows = [right, up, forward.map((value) => -value)];
    return {
      turn: [0, 1, 2].flatMap((column) => rows.map((row) => row[column])), rows, centre, mmPerPx: fit / pose.zoom,
      shift: pose.shift.map((value) => value * devicePixelRatio), depthMm: 2 * Math.hypot(halfHeight, halfWidth) + 1,
    };
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (!canvas.isConnected || !renderer) return;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((value) => Math.max(1, Math.round(value * devicePixelRatio)));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      camera = look();
      renderer.draw(panels, camera);
      showAll.disabled = !renderer.hidden.size;
      placeNames();
    });
  }

  // Names at the left of each panel, at the heights of their vertebrae, moved apart where they would overlap.
  function placeNames() {
    const [width, height] = [canvas.clientWidth / panels.length, canvas.clientHeight];
    const aside = halfWidth / camera.mmPerPx / devicePixelRatio + NAMES_PX;
    const [top, bottom] = [34, height - 12];
    panels.forEach((panel, i) => {
      const own = labels.filter((label) => label.panel === i);
      for (const label of own) {
        const d = label.mesh.centre.map((value, axis) => value - centre[axis]);
        label.y = height / 2 - dot(camera.rows[1], d) / camera.mmPerPx / devicePixelRatio - pose.shift[1];
        label.node.setAttribute("aria-pressed", String(!renderer.hidden.has(label.mesh.level)));
        label.node.style.visibility = label.y < 0 || label.y > height ? "hidden" : "visible";
      }
      const seen = own.filter((label) => label.y >= 0 && label.y <= height).sort((a, b) => a.y - b.y);
      const gap = Math.min(17, (bottom - top) / Math.max(1, seen.length - 1));
      seen.forEach((label, k) => { label.y = Math.max(label.y, k ? seen[k - 1].y + gap : top); });
      seen.toReversed().forEach((label, k, up) => { label.y = Math.min(label.y, k ? up[k - 1].y - gap : bottom); });
      const x = Math.max(8, width / 2 + pose.shift[0] - aside);
      for (const label of seen) label.node.style.transform = `translate(${i * width + x}px, ${label.y - 9}px)`;
    });
  }

  function hover(event) {
    if (!camera) return;
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const hit = renderer.pick(Math.round(x * devicePixelRatio), Math.round(y * devicePixelRatio), panels, camera);
    tooltip.hidden = !hit;
    if (!hit) return;
    const mesh = sets[panels[0].set].find((item) => item.level === hit.level);
    const deviation = panels[0].rangeMm && mesh?.compared ? `  ${hit.deviationMm > 0 ? "+" : ""}${number(hit.deviationMm, 1)} mm` : "";
    tooltip.replaceChildren(levelDot(hit.level), `${hit.level}${deviation}`);
    tooltip.style.transform = `translate(${Math.min(x + 14, box.width - 110)}px, ${Math.max(y - 34, 4)}px)`;
  }

  bindGestures(canvas, pose, redraw, hover, () => { tooltip.hidden = true; });
  const watcher = new ResizeObserver(redraw);
  return {
    nodes: [
      el("div", { class: "stage-bar" }, turnTo, ...controls, showAll), area,
      el("div", { class: "stage-foot" }, el("p", {}, "Drag to turn, wheel or pinch to zoom, Shift and drag to move"), ...extras),
    ],
    start() {
      renderer = new Renderer(canvas, sets);
      watcher.observe(canvas);
      redraw();
    },
    focus(level) {
      renderer.hidden = new Set(drawn.map((mesh) => mesh.level).filter((name) => name !== level));
      redraw();
    },
    redraw,
    close() {
      watcher.disconnect();
      renderer?.release();
    },
  };
}

// Drag turns, a second finger or the right button shifts, wheel and pinch zoom; arrow keys, + - and 0 do the same.
function bindGestures(canvas, pose, redraw, hover, leave) {
  const held = new Map();
  const spread = () => { const [a, b] = [...held.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  const zoom = (factor) => { pose.zoom = Math.min(20, Math.max(0.5, pose.zoom * factor)); redraw(); };
  const turn = (dx, dy) => { pose.angle += dx; pose.tilt = Math.max(-1.5, Math.min(1.5, pose.tilt + dy)); redraw(); };
  fill(canvas, {
    contextmenu: (event) => event.preventDefault(),
    pointerdown(event) {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, { x: event.clientX, y: event.clientY });
      leave();
    },
    pointermove(event) {
      const from = held.get(event.pointerId);
      if (!from) return hover(event);
      const before = held.size === 2 ? spread() : 0;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      Object.assign(from, { x: event.clientX, y: event.clientY });
      if (held.size === 2) zoom(spread() / Math.max(before, 1));
      if (held.size === 2 || event.buttons & 6 || event.shiftKey) {
        pose.shift = [pose.shift[0] + dx / held.size, pose.shift[1] - dy / held.size];
        redraw();
      } else turn(-dx * 0.01, dy * 0.01);
    },
    pointerup: (event) => held.delete(event.pointerId),
    pointercancel: (event) => held.delete(event.pointerId),
    pointerleave: leave,
    keydown(event) {
      const act = {
        ArrowLeft: () => turn(0.15, 0), ArrowRight: () => turn(-0.15, 0), ArrowUp: () => turn(0, 0.15), ArrowDown: () => turn(0, -0.15),
        "+": () => zoom(1.2), "=": () => zoom(1.2), "-": () => zoom(1 / 1.2), 0: () => { Object.assign(pose, { zoom: 1, shift: [0, 0] }); redraw(); },
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    },
  }, []);
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0015)); }, { passive: false });
}

function extentOf(meshes) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (const { positions } of meshes) {
    for (let i = 0; i < positions.length; i++) {
      low[i % 3] = Math.min(low[i % 3], positions[i]);
      high[i % 3] = Math.max(high[i % 3], positions[i]);
    }
  }
  const half = high.map((value, axis) => (value - low[axis]) / 2);
  return { centre: low.map((value, axis) => value + half[axis]), halfHeight: half[2], halfWidth: Math.hypot(half[0], half[1]) };
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}
