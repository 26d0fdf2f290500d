// Hover or arrow keys over the alignment matrix put the cell into words.
let cursor = null; // [row, column], 0-based

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
  if (data.winners[row] === column)
    return `${query} takes its maximum, <b class="num">${value}</b>, from ${page}.`;
  const best = data.winners[row];
  return `${query} and ${page} have cosine <b class="num">${value}</b>; its maximum, ` +
    `<b class="num">${data.sim[row][best].toFixed(2)}</b>, is at ${best + 1}.`;
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
}

element.addEventListener("pointermove", (event) => {
  if (!event.target.closest(".cells")) return;
  const { data, cells } = parts();
  const box = cells.getBoundingClientRect();
  show(
    Math.floor(((event.clientY - box.top) / box.height) * data.sim.length),
    Math.floor(((event.clientX - box.left) / box.width) * data.sim[0].length),
  );
});

element.addEventListener("keydown", (event) => {
  if (!event.target.closest(".cells")) return;
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  const { data } = parts();
  if (!cursor) return show(0, data.winners[0]);
  show(cursor[0] + step[0], cursor[1] + step[1]);
});

watch("value", () => { cursor = null; });
