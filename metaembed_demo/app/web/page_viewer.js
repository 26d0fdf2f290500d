// The open page: its overlay, the word under the pointer, and the full-size picture.
const shared = window.metaembed;
const SVG = "http://www.w3.org/2000/svg";
let asked = null; // { column, group } of a matrix cell, or { row } of a query word, or null: the whole hit
let word = null; // a word to outline

const on = () => element.querySelector(".overlay-switch input")?.checked;

const [NAME, CELL, DOUBT] = [1, 2, 3]; // types of rows in `map`; a plain word has none

// [word, share in thousandths, group from 1 on, x0, y0, x1, y1, type], the largest share first
function marks() {
  const reading = shared.reading();
  if (!asked) return shared.map()?.map ?? [];
  if (!reading) return [];
  const group = (at) => asked.group ?? shared.map()?.map.find((each) => each[0] === at)?.[2] ?? 5;
  return shared.pairs(asked.row ?? reading.read[asked.column]).map(([at, weight]) => {
    const [x0, y0, x1, y1, text, name, confidence] = reading.words[at];
    const word = confidence === undefined ? undefined : DOUBT;
    return [at, weight, group(at), x0, y0, x1, y1, text ? (name ? NAME : word) : CELL];
  });
}

// Words in the shade of their group. A word that names a picture has the picture's box and is not drawn, and its
// cells are outlined.
function words(found) {
  const top = found[0]?.[1] ?? 1;
  return found
    .filter(([, share, , , , , , what]) => share > 0.04 * top && what !== NAME && what !== CELL)
    .flatMap(([, share, group, x0, y0, x1, y1, what]) => {
      const rect = rectangle([x0, y0, x1, y1], 2);
      rect.style.fill = `var(--mark-of-${group}, var(--mark-${group}))`;
      rect.style.opacity = 0.15 + 0.6 * Math.sqrt(share / top);
      if (what !== DOUBT) return [rect];
      const line = rectangle([x0, y1, x1, y1 + 1], 0); // a dotted line under a word that OCR is not sure of
      line.setAttribute("class", "doubt");
      return [rect, line];
    });
}

// Picture cells that contribute most are outlined, the best of them by a stronger line; a picture keeps its colours.
function outlines(found) {
  const cells = found.filter((row) => row[7] === CELL);
  if (shared.map()?.kind === "share" && cells.reduce((sum, [, share]) => sum + share, 0) < 50) return [];
  const top = Math.max(...cells.map(([, share]) => share));
  return [[0.35, "part"], [0.7, "part best"]].map(([least, name]) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", around(cells.filter(([, share]) => share >= least * top).map((row) => row.slice(3, 7))));
    return path;
  });
}

// The outline of boxes that touch: edges that only one of them has.
function around(boxes) {
  const seen = new Map();
  for (const [x0, y0, x1, y1] of boxes)
    for (const edge of [`M${x0} ${y0}H${x1}`, `M${x0} ${y1}H${x1}`, `M${x0} ${y0}V${y1}`, `M${x1} ${y0}V${y1}`])
      seen.set(edge, (seen.get(edge) ?? 0) + 1);
  return [...seen].filter(([, times]) => times === 1).map(([edge]) => edge).join("");
}

function rectangle([x0, y0, x1, y1], grown) {
  const rect = document.createElementNS(SVG, "rect");
  const set = { x: x0 - grown, y: y0 - grown, width: x1 - x0 + 2 * grown, height: y1 - y0 + 2 * grown };
  for (const [name, value] of Object.entries(set)) rect.setAttribute(name, value);
  return rect;
}

const box = (at) => shared.map()?.map.find((row) => row[0] === at)?.slice(3, 7) ?? shared.reading()?.words[at];

// The open hit's thumbnail bears the same marks.
function thumbnail(drawn) {
  document.querySelector("#results .overlay")?.remove();
  const sheet = document.querySelector("#results .hit[aria-current] .sheet");
  if (!sheet) return;
  const copy = element.querySelector(".overlay").cloneNode();
  copy.replaceChildren(...drawn.map((mark) => mark.cloneNode()));
  sheet.append(copy);
}

function draw() {
  const overlay = element.querySelector(".overlay");
  if (!overlay || !shared.map()) return;
  const found = on() ? marks() : [];
  const drawn = words(found);
  const parts = outlines(found);
  element.querySelector(".outlines").replaceChildren(...parts);
  if (word !== null && box(word)) {
    const ring = rectangle(box(word), 5);
    ring.setAttribute("class", "ring");
    drawn.push(ring);
  }
  overlay.replaceChildren(...drawn);
  thumbnail([...drawn, ...parts]);
  overlay.dataset.marks = found.length;
}

// The smallest box that contains the point; words take precedence over cells.
function under(x, y, words) {
  let best = null, least = Infinity;
  words.forEach(([x0, y0, x1, y1, text], at) => {
    if (x < x0 || x > x1 || y < y0 || y > y1) return;
    const size = (x1 - x0) * (y1 - y0) + (text ? 0 : 1e-6);
    if (size < least) [best, least] = [at, size];
  });
  return best;
}

function told(at, reading) {
  const [, , , , text, , confidence] = reading.words[at];
  const map = shared.map()?.map ?? [];
  const share = map.find(([each]) => each === at)?.[1];
  const least = shared.percent((map[0]?.[1] ?? 0) * 0.04); // words below it are not drawn
  let token = -1, most = 0;
  reading.read.forEach((row, j) => {
    for (const [each, weight] of shared.pairs(row)) if (each === at && weight > most) [token, most] = [j, weight];
  });
  const name = text ? `“${text}”` : "This part of the picture";
  const reader = token < 0 ? "" : ` Candidate token ${token + 1} reads it most (${shared.percent(most)} of what it reads).`;
  const doubt = confidence === undefined ? "" : ` Read by OCR, confidence ${confidence.toFixed(2)}.`;
  const part = share === undefined ? `less than ${least}` : shared.percent(share);
  const kinds = {
    lost: `Without ${name.replace("This", "this")} the score loses ${part}.`,
    similarity: `${name} has a mean cosine of ${((share ?? 0) / 1000).toFixed(2)} with the query.`,
  };
  const told = kinds[shared.map()?.kind] ?? `${name} gives ${part} of this score.`;
  return `${told}${reader}${doubt}`;
}

element.addEventListener("pointermove", (event) => {
  const sheet = event.target.closest(".picture .sheet");
  if (!sheet) return;
  shared.load();
  const reading = shared.reading();
  if (!reading) return;
  const box = sheet.getBoundingClientRect();
  const at = under(((event.clientX - box.left) / box.width) * 1000, ((event.clientY - box.top) / box.height) * 1000, reading.words);
  if (at === word) return;
  word = at;
  element.querySelector(".under-pointer").textContent = at === null ? "" : told(at, reading);
  draw();
});

element.addEventListener("pointerleave", () => {
  word = null;
  draw();
});

element.addEventListener("change", draw);

document.addEventListener("metaembed:read", (event) => {
  asked = event.detail;
  draw();
});
document.addEventListener("metaembed:map", draw);
document.addEventListener("metaembed:reading", draw);
document.addEventListener("metaembed:word", (event) => {
  word = event.detail;
  draw();
});
watch("value", () => {
  [asked, word] = [null, null];
  requestAnimationFrame(() => {
    draw();
    shared.tell("page");
  });
});
