// One case: findings, viewers, and its vertebrae. Opens from #case=NAME, so every case has an address.

let current = null; // {entry, viewer, tab}

function openCase(entry, level = null) {
  current = current && { ...current, focus: level };
  pendingFocus = level;
  location.hash = caseHash(entry);
}

let pendingFocus = null;

function followAddress() {
  const match = /^#case=(.+)$/.exec(location.hash);
  let name = null;
  try { name = match && decodeURIComponent(match[1]); } catch { /* not an address of ours */ }
  const entry = CASES.find((candidate) => candidate.case === name);
  if (entry) showCase(entry);
  else closeCase();
}

function setUpCases() {
  const dialog = document.getElementById("case");
  window.addEventListener("hashchange", followAddress);
  dialog.addEventListener("close", () => {
    leaveViewer();
    const entry = current?.entry;
    current = null;
    document.documentElement.classList.remove("frozen");
    history.replaceState(null, "", location.href.split("#")[0]);
    entry?.node.querySelector("a").focus({ preventScroll: true });
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("input, canvas, [tabindex='0']") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") stepCase(-1);
    if (event.key === "ArrowRight") stepCase(1);
  });
  followAddress();
}

function closeCase() {
  const dialog = document.getElementById("case");
  if (dialog.open) dialog.close();
}

// The cases in the order of the table, failures left out; all of them if the filters hide the one shown.
function caseOrder() {
  const shown = shownRows().filter((row) => !row.failure);
  return shown.includes(current.entry) ? shown : CASES;
}

function stepCase(step) {
  const target = caseOrder()[caseOrder().indexOf(current.entry) + step];
  if (target) openCase(target);
}

function showCase(entry) {
  if (current?.entry === entry) return;
  leaveViewer();
  const dialog = document.getElementById("case");
  const tab = current?.tab ?? "picture";
  current = { entry, viewer: null, tab };
  const order = caseOrder();
  const place = order.indexOf(entry);
  const found = findingsOf(entry);
  const held = document.activeElement?.getAttribute("aria-label"); // stepping by a button keeps the focus on it
  const step = (by, label, sign) => el("button", { type: "button", class: "icon", "aria-label": label, title: label, disabled: !order[place + by], click: () => stepCase(by) }, sign);
  dialog.replaceChildren(
    el("header", { class: "case-head" },
      el("div", { class: "case-title" },
        el("h2", { id: "case-name", tabindex: "-1", autofocus: true }, entry.case),
        el("div", { class: "findings" }, found.length ? chips(found) : el("span", { class: "chip good" }, "all labels right"))),
      el("nav", { "aria-label": "Cases" },
        el("span", { class: "place" }, `${place + 1} of ${order.length}`),
        step(-1, "Previous case (left arrow)", "‹"), step(1, "Next case (right arrow)", "›"),
        el("button", { type: "button", class: "icon", "aria-label": "Close (Esc)", title: "Close (Esc)", click: closeCase }, "✕"))),
    el("div", { class: "case-body" },
      el("div", { class: "viewer" }, viewerTabs(entry), el("div", { id: "stage", class: "stage" })),
      el("div", { class: "case-side" }, caseFigures(entry), caseNotes(entry), vertebraTable(entry), caseFiles(entry))));
  if (!dialog.open) dialog.showModal();
  else ([...dialog.querySelectorAll("nav button:enabled")].find((b) => b.getAttribute("aria-label") === held) ?? document.getElementById("case-name")).focus();
  document.documentElement.classList.add("frozen");
  dialog.scrollTop = 0;
  chooseView(tab);
  if (pendingFocus) focusLevel(pendingFocus);
  pendingFocus = null;
}

function caseFigures(entry) {
  const items = CASE_METRICS.filter((m) => m.headline).map((m) => [withUnit(m), valueText(m, entry[m.mean_key])]);
  return el("dl", { class: "case-figures" }, items.map(([label, value]) => el("div", {}, el("dt", {}, label), el("dd", {}, value))));
}

function caseNotes(entry) {
  const notes = [...entry.notes, ...entry.problems];
  return notes.length ? el("ul", { class: "notes" }, notes.map((note) => el("li", {}, note))) : null;
}

function caseFiles(entry) {
  const files = Object.entries(entry.files).filter(([, path]) => path);
  return el("details", { class: "files" }, el("summary", {}, "Files"),
    el("dl", {}, files.map(([kind, path]) => el("div", {}, el("dt", {}, kind), el("dd", {}, el("code", {}, path))))));
}

function vertebraTable(entry) {
  const rows = [...entry.vertebrae, ...entry.surplus.map((s) => ({ ...s, isSurplus: true }))]
    .sort((a, b) => LEVEL[a.name].index - LEVEL[b.name].index);
  const heads = ["Level", "Mark", ...VERTEBRA_METRICS.map(withVertebraUnit), "Volume, ml"];
  return scroller(`Vertebrae of ${entry.case}`, el("table", { class: "numbers vertebrae" },
    el("thead", {}, el("tr", {}, heads.map((text, i) => el("th", { scope: "col", class: i < 2 && "text" }, text)))),
    el("tbody", {}, rows.map((v) => el("tr", { "data-level": v.name, class: v.wrong ? "row-bad" : v.missed ? "row-warn" : v.isSurplus ? "row-note" : "" },
      el("th", { scope: "row" }, el("button", { type: "button", class: "level", title: `Go to ${v.name}`, click: () => focusLevel(v.name) }, levelDot(v.name), v.name)),
      el("td", { class: "text" }, vertebraMarks(v)),
      VERTEBRA_METRICS.map((m) => el("td", { class: markedBy(v).includes(m) ? "warn-text" : "" }, valueText(m, v[m.key] ?? null))),
      el("td", {}, millilitres(v.predicted_mm3), el("span", { class: "sd" }, ` / ${millilitres(v.reference_mm3 ?? null)}`)))))));
}

// A vertebra's yes or no has no unit.
function withVertebraUnit(metric) {
  return metric.yes_no ? metric.title : withUnit(metric);
}

function vertebraMarks(v) {
  const mark = (kind, text, title) => el("span", { class: `chip ${kind}`, title }, text);
  if (v.isSurplus) return mark("note", v.lies_on ? `surplus, on ${v.lies_on}` : "surplus");
  if (v.misnamed) return mark("bad", `named ${v.found_as}`, "most of this vertebra was predicted under another name");
  if (v.missed) return mark("warn", "missed");
  if (v.identified === false) return mark("bad", "not identified", "another vertebra is nearer, or the centre is too far away");
  return v.reference_mm3 === null ? mark("plain", "centre only", "the reference has no mask of this vertebra") : "";
}

function millilitres(mm3) {
  return mm3 === null ? NONE : number(mm3 / 1000, 1);
}

const VIEWS = { picture: "Picture", slices: "Slices", surfaces: "Surfaces", deviation: "Deviation" };

function viewerTabs(entry) {
  const tabs = segmented("View", VIEWS, current.tab, chooseView);
  tabs.classList.add("views");
  return tabs;
}

function leaveViewer() {
  current?.viewer?.close();
  if (current) current.viewer = null;
}

async function chooseView(tab) {
  leaveViewer();
  const { entry } = current;
  current.tab = tab;
  const stage = document.getElementById("stage");
  stage.className = `stage ${tab}`;
  const say = (...content) => stage.replaceChildren(el("div", { class: "stage-note" }, ...content));
  if (tab === "picture" && !entry.picture) return say(el("p", {}, "There is no picture of this case."), problemList(entry));
  if (tab !== "picture" && !entry.viewer) return say(...howToGetViewer(entry));
  if (tab === "deviation" && !entry.deviation) return say(el("p", {}, "Surface deviation needs a reference mask and a prediction."));
  say(el("p", { class: "loading" }, "Loading …"));
  try {
    const viewer = await { picture: pictureView, slices: sliceView, surfaces: surfaceView, deviation: deviationView }[tab](entry);
    if (current?.entry !== entry || current.tab !== tab) return viewer.close(); // another view was chosen meanwhile
    current.viewer = viewer;
    stage.replaceChildren(...viewer.nodes);
    await viewer.start?.();
    stage.dataset.ready = tab;
  } catch (error) {
    say(el("p", {}, `This view cannot be shown: ${error.message}`));
    console.error(error);
  }
}

function problemList(entry) {
  return entry.problems.length ? el("ul", {}, entry.problems.map((text) => el("li", {}, text))) : null;
}

function howToGetViewer(entry) {
  if (entry.problems.length) return [el("p", {}, "Slices and surfaces could not be made."), problemList(entry)];
  return [
    el("p", {}, "Slices and surfaces are embedded for the most suspicious cases only, to keep this file small. For this case run"),
    el("code", { class: "command" }, `nnunet-spine report -e ${DATA.source} --cases ${shellWord(entry.case)}`),
  ];
}

function shellWord(text) {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

async function pictureView(entry) {
  const bytes = bytesOf(await blobText(`picture-${entry.index}`));
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
  const image = el("img", { src: address, alt: `Cuts through ${entry.case}: reference beside prediction, levels named` });
  const link = el("a", { href: address, target: "_blank", title: "Open the picture alone" }, image);
  await image.decode();
  return { nodes: [link], close: () => URL.revokeObjectURL(address) };
}

// Point the viewer at a vertebra of this case, and mark its row.
function focusLevel(name) {
  for (const row of document.querySelectorAll(".vertebrae tr[data-level]")) {
    row.toggleAttribute("data-chosen", row.dataset.level === name);
  }
  const v = current.entry.vertebrae.find((item) => item.name === name) ?? current.entry.surplus.find((item) => item.name === name);
  current.viewer?.focus?.(name, v?.reference_centre_mm ?? v?.predicted_centre_mm ?? null);
}
