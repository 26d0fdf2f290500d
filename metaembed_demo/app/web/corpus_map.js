// Draws all pages on a canvas: as sheets, as thumbnails from 12 px on, hits larger and with their rank. Thumbnails
// are fetched when they are in view, a few at a time, and the last ones kept. The server sends places and hits.
const THUMB = 12, KEPT = 500, AT_ONCE = 6, TALL = 160; // px; thumbnails; requests; px of a kept thumbnail
const MOST = 60, EASE_MS = 250, CLICK = 5, STEP = 60; // zoom against the whole map; of moving emphasis; px; px
const frame = element.querySelector(".map-frame"), canvas = frame.querySelector("canvas"), ctx = canvas.getContext("2d");
const tip = frame.querySelector(".map-tip"), chosenBar = frame.querySelector(".map-chosen");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let map = null, from = "", shown = {}; // the plane, its address, what is lit
let view = { x: 0, y: 0, scale: 1 }, whole = 1, box = { w: 0, h: 0 };
let lit = new Map(), begun = 0, before = new Map(), leftOut = new Set(), chosen = new Set();
let upright = false, lasso = null, selecting = false, colors = {}, waiting = false;
const texts = new Map(), thumbs = new Map(), wanted = []; // what is drawn -> a canvas; id -> a bitmap, or null while it is fetched
let fetching = 0;

// Places

const sx = (x) => (x - view.x) * view.scale + box.w / 2, sy = (y) => (y - view.y) * view.scale + box.h / 2;
const world = (px, py) => [(px - box.w / 2) / view.scale + view.x, (py - box.h / 2) / view.scale + view.y];
const bounds = () => map.places.reduce((b, [x, y]) => [Math.min(b[0], x), Math.min(b[1], y), Math.max(b[2], x), Math.max(b[3], y)], [1e9, 1e9, -1e9, -1e9]);

function fit() {
  if (!map?.ids.length || !box.w) return;
  const [x0, y0, x1, y1] = bounds(), room = map.room * 1000;
  whole = Math.min(box.w / (x1 - x0 + 2 * room), box.h / (y1 - y0 + 2.4 * room));
  view = { x: (x0 + x1) / 2, y: (y0 + y1) / 2 - room * 0.2, scale: whole };
  draw();
}

function zoom(by, px = box.w / 2, py = box.h / 2) {
  const [x, y] = world(px, py), scale = Math.max(whole * 0.8, Math.min(whole * MOST, view.scale * by));
  if (scale === view.scale) return false;
  view = { x: x - (px - box.w / 2) / scale, y: y - (py - box.h / 2) / scale, scale };
  draw();
  return true;
}

function move(dx, dy) {
  view.x -= dx / view.scale;
  view.y -= dy / view.scale;
  draw();
}

// How much a page is lit, 0 to 1: the first hit most. It eases from what it was.
function glow(i) {
  const now = lit.get(i) ?? 0, was = before.get(i) ?? 0;
  const t = calm.matches ? 1 : Math.min(1, (performance.now() - begun) / EASE_MS);
  return was + (now - was) * (1 - (1 - t) ** 3);
}

function sheet(i) { // x, y, width and height on the canvas
  const side = map.room * 950 * view.scale * (1 + glow(i) * 0.6), shape = map.shapes[i];
  const [w, h] = shape > 1 ? [side, side / shape] : [side * shape, side];
  return [sx(map.places[i][0]) - w / 2, sy(map.places[i][1]) - h / 2, w, h];
}

// Drawing

function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(paint);
}

function paint() {
  waiting = false;
  if (!map || !box.w) return;
  const dpr = devicePixelRatio || 1;
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.clearRect(0, 0, box.w, box.h);
  const side = map.room * 950 * view.scale;
  const seen = [], lights = [];
  for (let i = 0; i < map.ids.length; i++) {
    const x = sx(map.places[i][0]), y = sy(map.places[i][1]);
    if (x < -side * 2 || y < -side * 2 || x > box.w + side * 2 || y > box.h + side * 2) continue;
    (lit.has(i) || before.has(i) ? lights : seen).push(i);
  }
  lights.sort((a, b) => glow(a) - glow(b)); // the first hit on top
  wanted.length = 0;
  ctx.lineWidth = 1;
  if (side >= THUMB && seen.length + lights.length <= KEPT) for (const i of seen) page(i, false);
  else plain(seen);
  for (const i of lights) page(i, true);
  labels();
  for (const i of lights) badge(i);
  if (shown.query) diamond(sx(shown.query[+upright] * 1000), sy(shown.query[+!upright] * 1000));
  if (lasso) loop();
  load();
  if (!calm.matches && performance.now() - begun < EASE_MS) draw();
  else before = new Map([...lit]);
}

// Filled rectangles on whole pixels, a border as a larger one below: thousands of strokes would take ten times as long.
function bordered(i, border) {
  const [x, y, w, h] = sheet(i).map(Math.round);
  ctx.globalAlpha = leftOut.has(i) ? 0.25 : 1;
  ctx.fillStyle = border;
  ctx.fillRect(x - 1, y - 1, w + 2, h + 2);
  ctx.fillStyle = colors.sheet;
  ctx.fillRect(x, y, w, h);
  return [x, y, w, h];
}

function plain(seen) {
  for (const i of seen) bordered(i, colors.muted);
  ctx.globalAlpha = 1;
  for (const i of seen) if (chosen.has(i) || map.ids[i] === shown.opened) outline(i, 2.5);
}

function outline(i, width) {
  const [x, y, w, h] = sheet(i), out = width / 2 + 1;
  ctx.strokeStyle = chosen.has(i) ? colors.ink : colors.accent;
  ctx.lineWidth = width;
  ctx.setLineDash(chosen.has(i) ? [4, 3] : []);
  ctx.strokeRect(x - out, y - out, w + 2 * out, h + 2 * out);
  ctx.setLineDash([]);
}

function page(i, light) {
  const id = map.ids[i], [x, y, w, h] = bordered(i, colors.edge);
  if (h >= THUMB * 0.7) {
    const picture = thumbs.get(id);
    if (picture) ctx.drawImage(picture, x, y, w, h);
    else if (picture === undefined) wanted.push(id);
  }
  const strength = light ? glow(i) : 0;
  if (strength > 0) outline(i, 1.5 + 2.5 * strength);
  else if (chosen.has(i) || id === shown.opened) outline(i, 2.5);
  ctx.globalAlpha = 1;
}

function badge(i) { // the rank, at a corner of the sheet
  const rank = shown.hits.indexOf(map.ids[i]) + 1, [x, y] = sheet(i), r = 8 + 3 * glow(i);
  if (!rank) return;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 7);
  ctx.fillStyle = colors.accent;
  ctx.fill();
  ctx.fillStyle = colors.paper;
  ctx.font = `600 ${Math.round(r * 1.2)}px ${colors.font}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillText(rank, x, y + 0.5);
}

function diamond(x, y) {
  ctx.beginPath();
  for (const [dx, dy] of [[0, -11], [11, 0], [0, 11], [-11, 0]]) ctx.lineTo(x + dx, y + dy);
  ctx.closePath();
  Object.assign(ctx, { fillStyle: colors.ink, strokeStyle: colors.paper, lineWidth: 2.5 });
  ctx.stroke();
  ctx.fill();
  written("query", x, y - 20);
}

// Text with a halo, drawn once: strokes of letters take longer than all sheets.
function written(text, x, y) {
  const dpr = devicePixelRatio || 1, key = `${text} ${dpr} ${colors.ink}`;
  if (!texts.has(key)) {
    if (texts.size > KEPT) texts.clear();
    const made = document.createElement("canvas"), pen = made.getContext("2d"), font = `600 13px ${colors.font}`;
    pen.font = font;
    [made.width, made.height] = [Math.ceil((pen.measureText(text).width + 8) * dpr), Math.ceil(22 * dpr)];
    pen.scale(dpr, dpr);
    Object.assign(pen, { font, textBaseline: "middle", lineJoin: "round", strokeStyle: colors.paper, fillStyle: colors.ink, lineWidth: 4 });
    pen.strokeText(text, 4, 11);
    pen.fillText(text, 4, 11);
    texts.set(key, made);
  }
  const made = texts.get(key), w = made.width / dpr, h = made.height / dpr;
  ctx.drawImage(made, Math.round(x - w / 2), Math.round(y - h / 2), w, h);
}

function labels() { // names of groups above them, the largest first, where there is room
  const taken = [];
  for (const { name, x, top } of map.labels) {
    const px = sx(x), py = sy(top) - map.room * 500 * view.scale - 12, half = name.length * 3.6 + 6;
    if (px < -half || px > box.w + half || py < 8 || py > box.h) continue;
    if (taken.some(([ox, oy, o]) => Math.abs(ox - px) < half + o && Math.abs(oy - py) < 18)) continue;
    taken.push([px, py, half]);
    written(name, Math.max(half, Math.min(box.w - half, px)), py);
  }
}

function loop() {
  ctx.beginPath();
  lasso.forEach(([x, y]) => ctx.lineTo(sx(x), sy(y)));
  ctx.closePath();
  Object.assign(ctx, { strokeStyle: colors.ink, lineWidth: 1.5, fillStyle: colors.veil });
  ctx.setLineDash([5, 4]);
  ctx.fill();
  ctx.stroke();
  ctx.setLineDash([]);
}

// Thumbnails

function load() {
  while (fetching < AT_ONCE && wanted.length) fetchOne(wanted.shift());
}

async function fetchOne(id) {
  thumbs.set(id, null);
  fetching++;
  try {
    const answer = await fetch(`${shown.pictures}/${id}/thumbnail.jpg`, { credentials: "same-origin" });
    if (answer.ok) thumbs.set(id, await createImageBitmap(await answer.blob(), { resizeHeight: TALL, resizeQuality: "medium" }));
  } catch { /* it stays a plain sheet */ }
  fetching--;
  for (const [old, bitmap] of thumbs) {
    if (thumbs.size <= KEPT) break;
    if (old === id || !bitmap) continue;
    bitmap.close();
    thumbs.delete(old);
  }
  draw();
}

// What the server sends

function paints() {
  const style = getComputedStyle(frame), color = (name) => style.getPropertyValue(name).trim();
  const dark = document.body.classList.contains("dark");
  colors = { font: style.fontFamily, sheet: color(dark ? "--edge" : "--well"), veil: dark ? "rgba(255,255,255,.08)" : "rgba(0,0,0,.06)" };
  for (const name of ["ink", "paper", "edge", "muted", "accent"]) colors[name] = color(`--${name}`);
  draw();
}

async function show() {
  const told = document.querySelector("#map-head [data-shown]")?.dataset.shown;
  frame.classList.toggle("off", !told);
  if (!told) return;
  shown = JSON.parse(told);
  if (shown.at !== from) {
    const asked = shown.at;
    from = asked;
    const answer = await fetch(asked, { credentials: "same-origin" }).catch(() => null);
    if (from !== asked) return;
    if (!answer?.ok) { from = ""; return; }
    map = await answer.json();
    upright = canvas.clientHeight > canvas.clientWidth; // neither axis means anything
    if (upright) map.places.forEach((place) => place.reverse());
    map.labels = map.names.map((name, group) => {
      const own = map.places.filter((_, i) => map.groups[i] === group);
      return { name, count: own.length, x: own.reduce((sum, [x]) => sum + x, 0) / own.length, top: Math.min(...own.map(([, y]) => y)) };
    }).filter(({ count }) => count).sort((a, b) => b.count - a.count);
    window.metaembed.corpus = map;
    [chosen, lit, before] = [new Set(), new Map(), new Map()];
    told_chosen();
    size();
    fit();
  }
  const at = new Map(map.ids.map((id, i) => [id, i])), of = (id) => at.get(id);
  leftOut = new Set(shown.leftOut.map(of));
  const next = new Map(shown.hits.map((id, n) => [of(id), 1 - n / 12]).filter(([i]) => i !== undefined));
  if ([...next].join() !== [...lit].join()) {
    [before, lit, begun] = [new Map(lit), next, performance.now()];
  }
  frame.dataset.drawn = map.ids.length;
  paints();
}

function size() {
  const { clientWidth: w, clientHeight: h } = canvas, dpr = devicePixelRatio || 1;
  if (!w || (w === box.w && h === box.h && canvas.width === Math.round(w * dpr))) return;
  const first = !box.w;
  box = { w, h };
  [canvas.width, canvas.height] = [Math.round(w * dpr), Math.round(h * dpr)];
  if (first) fit();
  draw();
}

// Pointer

function under(px, py) { // the page on top
  let found = -1, most = -1;
  for (let i = 0; i < (map?.ids.length ?? 0); i++) {
    const [x, y, w, h] = sheet(i), grown = Math.max(0, 8 - w / 2);
    if (px < x - grown || px > x + w + grown || py < y - grown || py > y + h + grown) continue;
    if (glow(i) > most) [found, most] = [i, glow(i)];
  }
  return found;
}

function inside([x, y], ring) {
  let odd = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    const [[ax, ay], [bx, by]] = [ring[i], ring[j]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}

function told_chosen() {
  chosenBar.hidden = !chosen.size;
  chosenBar.querySelector("b").textContent = `${chosen.size.toLocaleString("en")} ${chosen.size === 1 ? "page" : "pages"} selected`;
  draw();
}

function select(on) {
  selecting = on;
  frame.querySelector("[data-map=lasso]").setAttribute("aria-pressed", on);
  canvas.classList.toggle("selecting", on);
}

const pointers = new Map();
let start = null, apart = 0; // where the press began; distance of two fingers
const place = (event) => [event.offsetX, event.offsetY];
const spread = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };

canvas.addEventListener("pointerdown", (event) => {
  if (!map || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, place(event));
  if (pointers.size === 1) {
    start = place(event);
    if (selecting || event.shiftKey) lasso = [world(...start)];
  } else if (pointers.size === 2) [start, lasso, apart] = [null, null, spread()];
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = place(event), last = pointers.get(event.pointerId);
  if (!last) return hover(x, y);
  pointers.set(event.pointerId, [x, y]);
  if (pointers.size === 2) {
    const now = spread(), [a, b] = [...pointers.values()];
    zoom(now / (apart || now), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    move((x - last[0]) / 2, (y - last[1]) / 2);
    apart = now;
  } else if (lasso) {
    lasso.push(world(x, y));
    draw();
  } else move(x - last[0], y - last[1]);
});
function up(event) {
  if (!pointers.delete(event.pointerId)) return;
  const [x, y] = place(event), clicked = start && Math.hypot(x - start[0], y - start[1]) < CLICK;
  if (lasso && !clicked) {
    const ring = lasso;
    chosen = new Set(map.ids.map((_, i) => i).filter((i) => inside(map.places[i], ring)));
    select(false);
  }
  lasso = null;
  if (event.type === "pointerup" && clicked) {
    const at = under(x, y);
    trigger("select", { page: at < 0 ? "" : map.ids[at] });
  }
  if (!pointers.size) start = null;
  told_chosen();
}
canvas.addEventListener("pointerup", up);
canvas.addEventListener("pointercancel", up);
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
canvas.addEventListener("dblclick", (event) => {
  const at = under(...place(event));
  if (at >= 0) trigger("submit", { action: "open", value: map.ids[at] });
});
canvas.addEventListener("wheel", (event) => {
  const [x, y] = place(event);
  if (map && zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), x, y)) event.preventDefault();
}, { passive: false });

function hover(x, y) {
  const at = map ? under(x, y) : -1;
  tip.hidden = at < 0;
  canvas.style.cursor = at < 0 ? "" : "pointer";
  if (at < 0) return;
  const rank = shown.hits.indexOf(map.ids[at]) + 1;
  tip.textContent = `${map.titles[at]} — ${map.where[at]}${rank ? `, ranked ${rank}` : ""}`;
  tip.style.left = `${Math.min(x + 14, box.w - tip.offsetWidth - 4)}px`;
  tip.style.top = `${canvas.offsetTop + Math.min(y + 18, box.h - tip.offsetHeight - 4)}px`;
}

// Keyboard and buttons

canvas.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey || !map) return;
  if (by) move(by[0] * STEP, by[1] * STEP);
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") fit();
  else if (event.key === "Escape") { chosen = new Set(); lasso = null; select(false); told_chosen(); }
  else return;
  event.preventDefault();
  event.stopPropagation();
});
element.addEventListener("click", ({ target }) => {
  const what = target.closest("[data-map]")?.dataset.map;
  if (what === "in") zoom(1.4);
  else if (what === "out") zoom(1 / 1.4);
  else if (what === "fit") fit();
  else if (what === "lasso") select(!selecting);
  else if (what === "clear") { chosen = new Set(); told_chosen(); }
  else if (what === "search") trigger("submit", { action: "only", value: [...chosen].map((i) => map.ids[i]) });
});

document.addEventListener("metaembed:map-shown", show);
new ResizeObserver(size).observe(canvas);
new MutationObserver(paints).observe(document.body, { attributes: true, attributeFilter: ["class"] });
show();
