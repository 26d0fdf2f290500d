// The chosen page: its overlay, the word under the pointer, and the picture at full size.
const shared = window.metaembed;
const SVG = "http://www.w3.org/2000/svg";
let asked = null; // { column, group } of the matrix cell in view, or null: the whole hit
let word = null; // a word to outline

const on = () => element.querySelector(".overlay-switch input")?.checked;

// [word, share in thousandths, group 1..5], the largest share first
function marks(reading, map) {
  if (asked) return shared.pairs(reading.read[asked.column] ?? []).map(([at, weight]) => [at, weight, asked.group]);
  // The map and the page arrive apart: for a moment the words may be those of the page before.
  return (map?.map ?? []).filter(([at]) => at < reading.words.length);
}

// Words in the shade of their group. A word that names a picture has the picture's box, and is not drawn.
function words(reading, found) {
  const top = found[0]?.[1] ?? 1;
  return found
    .filter(([at, share]) => share > 0.04 * top && !reading.words[at][5])
    .map(([at, share, group]) => {
      const rect = rectangle(reading.words[at], 2);
      rect.style.fill = `var(--mark-${group})`;
      rect.style.opacity = 0.15 + 0.6 * Math.sqrt(share / top);
      return rect;
    });
}

// Cells of pictures that gave little stand back behind white; where no cell counts, all stay as they are.
function veil(reading, found) {
  const cells = new Map(found.filter(([at]) => !reading.words[at][4]).map(([at, share]) => [at, share]));
  const shares = [...cells.values()];
  if (shares.reduce((sum, share) => sum + share, 0) < 50) return [];
  const top = Math.max(...shares);
  return reading.words.flatMap((box, at) => {
    if (box[4]) return [];
    const rect = rectangle(box, 0);
    rect.style.opacity = 0.8 * (1 - (cells.get(at) ?? 0) / top);
    return [rect];
  });
}

function rectangle([x0, y0, x1, y1], grown) {
  const rect = document.createElementNS(SVG, "rect");
  const set = { x: x0 - grown, y: y0 - grown, width: x1 - x0 + 2 * grown, height: y1 - y0 + 2 * grown };
  for (const [name, value] of Object.entries(set)) rect.setAttribute(name, value);
  return rect;
}

function draw() {
  const overlay = element.querySelector(".overlay");
  const reading = shared.reading();
  if (!overlay || !reading) return;
  const found = on() ? marks(reading, shared.map()) : [];
  const drawn = words(reading, found);
  element.querySelector(".veil").replaceChildren(...veil(reading, found));
  if (word !== null && reading.words[word]) {
    const ring = rectangle(reading.words[word], 5);
    ring.setAttribute("class", "ring");
    drawn.push(ring);
  }
  overlay.replaceChildren(...drawn);
  overlay.dataset.marks = found.length;
}

// The smallest box that holds the point, words before cells.
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
  const [, , , , text] = reading.words[at];
  const share = shared.map()?.map.find(([each]) => each === at)?.[1] ?? 0;
  let token = -1, most = 0;
  reading.read.forEach((row, j) => {
    for (const [each, weight] of shared.pairs(row)) if (each === at && weight > most) [token, most] = [j, weight];
  });
  const name = text ? `“${text}”` : "This part of the picture";
  const reader = token < 0 ? "" : ` Candidate token ${token + 1} reads it most (${shared.percent(most)} of what it reads).`;
  return `${name} gives ${shared.percent(share)} of this score.${reader}`;
}

element.addEventListener("pointermove", (event) => {
  const sheet = event.target.closest(".picture .sheet");
  const reading = shared.reading();
  if (!sheet || !reading) return;
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

// At full size: a copy, so that the page holds the picture's bytes only once until asked.
element.addEventListener("click", (event) => {
  const dialog = element.querySelector("dialog");
  if (event.target.closest(".picture")) {
    dialog.querySelector("div").replaceChildren(element.querySelector(".picture .sheet").cloneNode(true));
    dialog.showModal();
  } else if (event.target === dialog || event.target.closest("dialog > div")) {
    dialog.close();
  }
});
