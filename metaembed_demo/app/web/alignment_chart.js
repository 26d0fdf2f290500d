// Hover, a click or arrow keys over the alignment matrix: the cell in words, what both its tokens read.
const shared = window.metaembed;
const NAMED = 4; // words told of each token
let cursor = null; // [row, column], 0-based
let pinned = false; // by a click or a key: the pointer may leave

const parts = () => {
  const figure = element.querySelector(".matrix");
  if (!figure) return null;
  if (figure.dataset.matrix !== parts.source) {
    parts.source = figure.dataset.matrix;
    parts.data = JSON.parse(parts.source);
  }
  return { figure, data: parts.data, cells: figure.querySelector(".cells") };
};

function group(data, column) {
  return data.groups.find(([, last]) => column < last)?.[2] ?? "";
}

// Numbers and labels of our own making only, so that no text needs escaping here.
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

// What a token reads, in words. They come from documents, so they are set as text.
function reads(name, row, words) {
  const told = document.createElement("span");
  told.className = "reads";
  const label = document.createElement("b");
  label.textContent = `${name} reads `;
  const found = new Map(); // cells of a picture count together
  for (const [at, weight] of shared.pairs(row)) {
    const text = words(at) || "the picture";
    found.set(text, (found.get(text) ?? 0) + weight);
  }
  const named = [...found].sort((a, b) => b[1] - a[1]).slice(0, NAMED);
  told.append(label, named.map(([text, weight]) => `${text} ${shared.percent(weight)}`).join(", ") || "no word");
  return told;
}

function both(row, column) {
  const reading = shared.reading(), map = shared.map();
  if (!reading || !map) return [];
  return [
    reads(`Query token ${row + 1}`, map.read[row] ?? [], (at) => map.query[at]),
    reads(`Candidate token ${column + 1}`, reading.read[column] ?? [], (at) => reading.words[at][4]),
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
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  const { data } = parts();
  pinned = true;
  if (!cursor) return show(0, data.winners[0]);
  show(cursor[0] + step[0], cursor[1] + step[1]);
});

watch("value", () => {
  if (cursor) leave();
});
