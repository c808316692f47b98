// Interactive slices: CT with the reference or the prediction over it, drawn by NiiVue.

const PLANES = { all: "All", axial: "Axial", coronal: "Coronal", sagittal: "Sagittal" };
// Side by side, left edge and width as shares: a spine is tall.
const THREE_PLANES = [["SAGITTAL", 0, 0.34], ["CORONAL", 0.34, 0.34], ["AXIAL", 0.68, 0.32]];
const WINDOWS_HU = { bone: [-300, 1200], soft: [-160, 240] };

let niivueLoading = null;

// The library is embedded compressed and starts when slices are first wanted.
function loadNiivue() {
  niivueLoading ??= inflatedBlob("niivue").then((buffer) => {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(buffer);
    document.head.append(script);
    return globalThis.niivue;
  });
  return niivueLoading;
}

async function sliceView(entry) {
  const maps = ["reference", "prediction"].filter((name) => entry.maps.includes(name));
  const [library, ...buffers] = await Promise.all([loadNiivue(), ...["image", ...maps].map((name) => inflatedBlob(`${name}-${entry.index}`))]);
  const canvas = el("canvas", { tabindex: "0", class: "slices", "aria-label": `Slices of ${entry.case}` });
  const place = el("p", { class: "stage-foot place-mm", role: "status" });
  const state = { map: maps.at(-1), opacity: 0.45 };
  let viewer;

  const overlay = () => {
    maps.forEach((name, i) => viewer.setOpacity(i + 1, name === state.map ? state.opacity : 0));
  };
  const plane = (key) => {
    const types = library.SLICE_TYPE;
    if (key === "all") viewer.setCustomLayout(THREE_PLANES.map(([name, left, width]) => ({ sliceType: types[name], position: [left, 0, width, 1] })));
    else viewer.clearCustomLayout();
    viewer.setSliceType({ all: types.MULTIPLANAR, axial: types.AXIAL, coronal: types.CORONAL, sagittal: types.SAGITTAL }[key]);
  };
  const opacity = el("input", {
    type: "range", min: "0", max: "1", step: "0.05", value: String(state.opacity), "aria-label": "Opacity of the labels",
    input: (event) => { state.opacity = Number(event.target.value); overlay(); },
  });
  const choices = Object.fromEntries([...maps.map((name) => [name, name === "reference" ? "Reference" : "Prediction"]), ["none", "CT only"]]);
  const contrast = (key) => {
    [viewer.volumes[0].cal_min, viewer.volumes[0].cal_max] = WINDOWS_HU[key];
    viewer.updateGLVolume();
  };
  const bar = el("div", { class: "stage-bar" },
    segmented("Planes", PLANES, "all", plane),
    segmented("Labels", choices, state.map ?? "none", (name) => { state.map = name; overlay(); }),
    segmented("Window", { bone: "Bone", soft: "Soft tissue" }, "bone", contrast),
    maps.length ? el("label", { class: "slider" }, "Opacity", opacity) : null);

  return {
    nodes: [bar, el("div", { class: "canvas-area" }, canvas), place],
    async start() {
      viewer = new library.Niivue({
        backColor: [0, 0, 0, 1], crosshairColor: [0.56, 0.7, 1, 1], crosshairWidth: 0.9, crosshairWidthUnit: "mm", crosshairGap: 6, fontColor: [0.75, 0.78, 0.82, 1],
        isRadiologicalConvention: true, sagittalNoseLeft: true, isCornerOrientationText: true, dragAndDropEnabled: false, loadingText: "", logLevel: "error",
        multiplanarShowRender: library.SHOW_RENDER.NEVER, scrollRequiresFocus: false,
      });
      viewer.onLocationChange = (location) => { place.textContent = describePlace(location, maps); };
      await viewer.attachToCanvas(canvas);
      for (const [i, buffer] of buffers.entries()) {
        const [low, high] = i ? [NaN, NaN] : WINDOWS_HU.bone;
        const volume = await library.NVImage.new(buffer, `${["image", ...maps][i]}.nii`, "gray", 1, null, low, high);
        if (i) volume.setColormapLabel(labelColors());
        viewer.addVolume(volume);
      }
      viewer.setInterpolation(false);
      overlay();
      plane("all");
      focusOnSpine(viewer, entry);
    },
    focus: (_, mm) => mm && moveTo(viewer, bodyOf(mm)),
    close: () => viewer?.gl?.getExtension("WEBGL_lose_context")?.loseContext(),
  };
}

function labelColors() {
  const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
  for (const level of LEVELS) {
    const rgb = Number.parseInt(level.color.slice(1), 16);
    table.R.push(rgb >> 16);
    table.G.push((rgb >> 8) & 255);
    table.B.push(rgb & 255);
    table.A.push(255);
    table.I.push(level.id);
    table.labels.push(level.name);
  }
  return table;
}

function describePlace(location, maps) {
  const names = Object.fromEntries(LEVELS.map((level) => [level.id, level.name]));
  const parts = [[...location.mm].slice(0, 3).map((value) => number(value, 0)).join(", ") + " mm"];
  location.values.forEach((item, i) => {
    if (i === 0) parts.push(`${number(item.value, 0)} HU`);
    else parts.push(`${maps[i - 1]} ${names[Math.round(item.value)] ?? NONE}`);
  });
  return parts.join("   ");
}

// Start at the vertebra in the middle of what the reference or the prediction has.
function focusOnSpine(viewer, entry) {
  const points = entry.vertebrae.map((v) => v.reference_centre_mm ?? v.predicted_centre_mm).filter(Boolean);
  if (points.length) moveTo(viewer, bodyOf(points[Math.floor(points.length / 2)]));
}

// The centroid of a whole vertebra lies near its canal; its body, some 12 mm further to the front.
function bodyOf([x, y, z]) {
  return [x, y + (DATA.settings.centre_kind === "body" ? 0 : 12), z];
}

function moveTo(viewer, mm) {
  viewer.scene.crosshairPos = viewer.mm2frac(mm);
  viewer.createOnLocationChange();
  viewer.drawScene();
}
