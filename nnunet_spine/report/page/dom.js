// Building blocks: elements, numbers as text, embedded binary data.

const NONE = "–";

// An element with attributes, listeners (functions) and children; text is never parsed as HTML.
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return node;
}

function number(value, digits = 2) {
  return value === null || value === undefined ? NONE : value.toFixed(digits).replace("-", "−");
}

function percent(value, digits = 1) {
  return value === null || value === undefined ? NONE : `${number(value * 100, digits)} %`;
}

function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

// A row of buttons of which one is pressed. `choices` maps values to labels.
function segmented(label, choices, chosen, onChoose) {
  const buttons = Object.entries(choices).map(([value, text]) =>
    el("button", { type: "button", "data-value": value, "aria-pressed": String(value === chosen), click: () => choose(value) }, text));
  function choose(value) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
    onChoose(value);
  }
  return el("div", { class: "segmented", role: "group", "aria-label": label }, buttons);
}

// The text of an embedded blob. Blobs stand behind this script, so the page is usable before they are read.
async function blobText(name) {
  const find = () => document.querySelector(`script[data-blob="${name}"]`);
  if (document.readyState === "loading") {
    await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));
  }
  const node = find();
  if (!node) throw new Error(`this page holds no ${name}`);
  return node.textContent.trim();
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// The content of a gzip-compressed blob.
async function inflatedBlob(name) {
  const stream = new Blob([bytesOf(await blobText(name))]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// The cases that could not be evaluated, each with its method (of a comparison), reason and file where they are known.
function drawFailures(failures) {
  const section = document.getElementById("failures");
  if (!failures.length) return;
  section.hidden = false;
  section.className = "callout";
  const line = (f) => el("li", {}, el("strong", {}, f.method ? `${f.method}: ${f.case}` : f.case), ` ${f.message}`,
    f.path ? el("code", {}, f.path) : null);
  section.append(
    el("h2", { id: "failures-heading" }, `${plural(failures.length, "case")} could not be evaluated`),
    el("ul", {}, failures.map(line)));
}
