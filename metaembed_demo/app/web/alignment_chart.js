// Alignment matrix: hover, click or arrow keys describe a cell and what both its tokens read.
const shared = window.metaembed;
const NAMED = 4; // words listed per token
let cursor = null; // [row, column], 0-based
let pinned = false; // by a click or a key, so that the pointer may leave

const LEVELS = 14; // distinguishable steps of ink

const parts = () => {
  const figure = element.querySelector(".matrix");
  if (!figure) return null;
  if (figure.dataset.matrix !== parts.source) {
    parts.source = figure.dataset.matrix;
    parts.data = JSON.parse(parts.source);
    parts.data.sim = cosines(parts.data);
  }
  return { figure, data: parts.data, cells: figure.querySelector(".cells") };
};

// (rows, columns) of cosines, from little-endian int16 ten-thousandths.
function cosines({ sim, size: [rows, columns] }) {
  const view = new DataView(Uint8Array.from(atob(sim), (each) => each.charCodeAt(0)).buffer);
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => view.getInt16(2 * (i * columns + j), true) / 10_000));
}

// The maxima, one row per query token. Numbers only, so nothing needs escaping.
function table(data) {
  const score = data.winners.reduce((sum, j, i) => sum + data.sim[i][j], 0) || 1;
  return data.winners.map((j, i) => {
    const gain = data.sim[i][j], cells = [i + 1, j + 1, group(data, j), gain.toFixed(3), `${((gain / score) * 100).toFixed(0)}%`];
    return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  }).join("");
}

// One path per level of ink, separately inside and outside the budget; a ring around each row's maximum.
function cells({ sim, winners, r_q, r_c }) {
  const all = sim.flat(), low = Math.min(...all), span = Math.max(Math.max(...all) - low, 1e-9);
  const paths = { in: Array(LEVELS).fill(""), out: Array(LEVELS).fill("") };
  sim.forEach((row, i) => row.forEach((value, j) => {
    const level = Math.round(((value - low) / span) * (LEVELS - 1));
    paths[i < r_q && j < r_c ? "in" : "out"][level] += `M${j} ${i}h1v1h-1z`;
  }));
  const ink = (level) => (0.03 + 0.9 * (level / (LEVELS - 1)) ** 1.4).toFixed(2);
  const drawn = Object.entries(paths).flatMap(([name, levels]) =>
    levels.map((d, level) => d && `<path class="${name}" d="${d}" fill-opacity="${ink(level)}"/>`));
  const edge = r_q < sim.length || r_c < sim[0].length ? `<path class="edge" d="M${r_c} 0V${r_q}H0"/>` : "";
  const rings = winners.map((j, i) => `<rect class="ring" x="${j}" y="${i}" width="1" height="1"/>`);
  return drawn.join("") + edge + rings.join("");
}

// The matrix for its JSON and CSV files, with 1-based tokens.
function files({ page, sim, winners, r_q, r_c }) {
  const cosines = sim.slice(0, r_q).map((row) => row.slice(0, r_c));
  const gains = winners.map((j, i) => sim[i][j]);
  const head = ["query token", ...cosines[0].map((_, j) => `candidate token ${j + 1}`)];
  return {
    json: JSON.stringify({ page_id: page, cosines, winners: winners.map((j) => j + 1), gains }),
    rows: JSON.stringify([head, ...cosines.map((row, i) => [i + 1, ...row])]),
  };
}

function draw() {
  const found = parts();
  if (!found || found.figure.dataset.rows) return;
  found.cells.querySelector("svg").innerHTML = cells(found.data);
  found.figure.querySelector("tbody").innerHTML = table(found.data);
  Object.assign(found.figure.dataset, files(found.data));
}

function group(data, column) {
  return data.groups.find(([, last]) => column < last)?.[2] ?? "";
}

// Numbers and fixed labels only, so nothing needs escaping.
function sentence(data, row, column) {
  const value = data.sim[row][column].toFixed(2);
  const query = `Query token <b class="num">${row + 1}</b>`;
  const page = `candidate token <b class="num">${column + 1}</b> (group ${group(data, column)})`;
  if (row >= data.r_q || column >= data.r_c)
    return `${query} and ${page} have cosine <b class="num">${value}</b>, outside this budget.`;
  const score = data.winners.reduce((sum, at, i) => sum + data.sim[i][at], 0) || 1;
  const share = Math.round((data.sim[row][column] / score) * 100);
  if (data.winners[row] === column)
    return `${query} takes its maximum, <b class="num">${value}</b> (${share}% of the score), from ${page}.`;
  const best = data.winners[row];
  return `${query} and ${page} have cosine <b class="num">${value}</b>; its maximum, ` +
    `<b class="num">${data.sim[row][best].toFixed(2)}</b>, is at ${best + 1}.`;
}

// The words that a token reads. They come from documents, so they are set as text.
function reads(name, row, words) {
  const told = document.createElement("span");
  told.className = "reads";
  const label = document.createElement("b");
  label.textContent = `${name} reads `;
  const found = new Map(); // cells of a picture are summed
  for (const [at, weight] of shared.pairs(row)) {
    const text = words(at) || "the picture";
    found.set(text, (found.get(text) ?? 0) + weight);
  }
  const named = [...found].sort((a, b) => b[1] - a[1]).slice(0, NAMED);
  told.append(label, named.map(([text, weight]) => `${text} ${shared.percent(weight)}`).join(", ") || "no word");
  return told;
}

const page = ([, , , , text, , confidence]) => (confidence === undefined ? text : `${text} (OCR, confidence ${confidence.toFixed(2)})`);

function both(row, column) {
  const reading = shared.reading(), map = shared.map();
  if (!reading) shared.load();
  if (!reading || !map) return [];
  return [
    reads(`Query token ${row + 1}`, map.read[row] ?? [], (at) => map.query[at]),
    reads(`Candidate token ${column + 1}`, reading.read[column] ?? [], (at) => page(reading.words[at])),
  ];
}

function leave() {
  pinned = false;
  cursor = null;
  const mark = element.querySelector(".cursor");
  if (mark) mark.hidden = true;
  shared.tell("read", null);
}

function show(row, column) {
  const { figure, data, cells } = parts();
  const rows = data.sim.length, columns = data.sim[0].length;
  cursor = [Math.max(0, Math.min(rows - 1, row)), Math.max(0, Math.min(columns - 1, column))];
  const mark = cells.querySelector(".cursor");
  mark.hidden = false;
  mark.style.left = `${(cursor[1] / columns) * 100}%`;
  mark.style.top = `${(cursor[0] / rows) * 100}%`;
  figure.querySelector(".reading").innerHTML = sentence(data, ...cursor);
  figure.querySelector(".both").replaceChildren(...both(...cursor));
  const group = data.groups.findIndex(([, last]) => cursor[1] < last) + 1;
  shared.tell("read", { column: cursor[1], group });
}

function point(event) {
  const { data, cells } = parts();
  const box = cells.getBoundingClientRect();
  show(
    Math.floor(((event.clientY - box.top) / box.height) * data.sim.length),
    Math.floor(((event.clientX - box.left) / box.width) * data.sim[0].length),
  );
}

element.addEventListener("pointermove", (event) => {
  if (event.target.closest(".cells")) {
    if (!pinned) point(event);
  } else if (cursor && !pinned) leave();
});
element.addEventListener("pointerleave", () => {
  if (cursor && !pinned) leave();
});
element.addEventListener("click", (event) => {
  if (!event.target.closest(".cells")) return;
  pinned = !pinned;
  element.querySelector(".cursor").classList.toggle("pinned", pinned);
  point(event);
});

element.addEventListener("keydown", (event) => {
  if (!event.target.closest(".cells")) return;
  if (event.key === "Escape" && cursor) return leave();
  // Home and End go along the row; with Ctrl, to the first and the last cell.
  const far = event.ctrlKey ? Infinity : 0;
  const step = {
    ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [-far, -Infinity], End: [far, Infinity],
  }[event.key];
  if (!step) return;
  event.preventDefault();
  const { data } = parts();
  pinned = true;
  if (!cursor && Number.isFinite(step[1])) return show(0, data.winners[0]);
  const [row, column] = cursor ?? [0, 0];
  show(row + step[0], column + step[1]);
});

watch("value", () => {
  if (cursor) leave();
  requestAnimationFrame(draw);
});
document.addEventListener("metaembed:reading", () => {
  if (cursor) show(...cursor);
});
draw();
