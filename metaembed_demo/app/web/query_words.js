// The words of the query as buttons: one that is pressed shows which words of the page and which Meta Tokens answered
// it, on the page and in the matrix. The figures are those of the explanation (views/page_map.py `by_word`).
const shared = window.metaembed;
const MOST = 8, LEAST = 20; // words shown, and the thousandths of the score from which one is
const READS = 100; // thousandths from which a query token counts as reading a word
const box = element.querySelector(".query-words"), group = box.querySelector("[role=group]");
const status = box.querySelector("[role=status]");
let pressed = null; // the index of a word
let drawn = ""; // what the buttons were made of
let telling = false;

const question = () => JSON.parse(document.querySelector("#link [data-link]")?.dataset.link ?? "{}").q ?? "";
const matrix = () => document.querySelector("#alignment .matrix");

function words({ query, asked }) {
  const told = asked.map(([share], at) => ({ at, share, text: query[at] })).filter(({ share, text }) => text && share >= LEAST);
  return told.sort((a, b) => b.share - a.share).slice(0, MOST).sort((a, b) => a.at - b.at);
}

function button({ at, share, text }) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: bare(text) });
  made.dataset.word = at;
  made.append(Object.assign(document.createElement("small"), { className: "num", textContent: shared.percent(share) }));
  return made;
}

// The query tokens that read the pressed word, and for each the weight, as far as the budget has them.
function readers(map, rows) {
  return map.read.slice(0, rows).map((row, token) => ({ token, weight: shared.pairs(row).find(([at]) => at === pressed)?.[1] ?? 0 }));
}

function inMatrix(map) {
  const figure = matrix(), svg = figure?.querySelector(".cells svg");
  if (!svg) return null;
  svg.querySelectorAll(".asked").forEach((each) => each.remove());
  const { winners, size } = JSON.parse(figure.dataset.matrix), rings = [...svg.querySelectorAll(".ring")];
  if (pressed === null) rings.forEach((each) => each.classList.remove("aside"));
  if (pressed === null) return null;
  const found = readers(map, winners.length);
  for (const { token, weight } of found) {
    rings[token]?.classList.toggle("aside", weight < READS);
    if (weight < READS) continue;
    const rect = document.createElementNS(svg.namespaceURI, "rect");
    const set = { class: "asked", x: 0, y: token, width: size[1], height: 1, "fill-opacity": 0.05 + (0.3 * weight) / 1000 };
    for (const [name, value] of Object.entries(set)) rect.setAttribute(name, value);
    svg.append(rect);
  }
  return found.filter(({ weight }) => weight >= READS).map(({ token }) => [token + 1, winners[token] + 1]);
}

const bare = (text) => text.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "") || text; // "run?" -> "run"

// "token 7", "tokens 1–4, 7"
function named(tokens) {
  const runs = [];
  for (const each of [...new Set(tokens)].sort((a, b) => a - b)) {
    if (runs.length && each === runs.at(-1)[1] + 1) runs.at(-1)[1] = each;
    else runs.push([each, each]);
  }
  const told = runs.map(([from, to]) => (from === to ? from : `${from}–${to}`)).join(", ");
  return `token${runs.length > 1 || runs[0][0] !== runs[0][1] ? "s" : ""} ${told}`;
}

function sentence(map, pairs) {
  const share = shared.percent(map.asked[pressed][0]);
  const by = pairs?.length
    ? `, through query ${named(pairs.map(([token]) => token))} and candidate ${named(pairs.map(([, token]) => token))}` : "";
  return `“${bare(map.query[pressed])}” gives ${share} of this score${by}.`;
}

function show() {
  const map = shared.map();
  for (const each of group.children) each.setAttribute("aria-pressed", Number(each.dataset.word) === pressed);
  if (!map) return;
  const pairs = inMatrix(map);
  status.textContent = status.title = pressed === null ? "" : sentence(map, pairs);
  telling = true;
  shared.tell("read", pressed === null ? null : { row: map.asked[pressed][1] });
  telling = false;
  if (pressed !== null) shared.load();
}

function press(word) {
  pressed = word;
  show();
}

// The buttons of the query whose page is open. A page that is still to be explained keeps those of its query.
function draw() {
  const map = shared.map(), asked = question();
  if (asked !== box.dataset.query) {
    pressed = null;
    box.hidden = true;
  }
  if (!map?.asked || !asked) return;
  box.dataset.query = asked;
  const made = words(map), key = JSON.stringify(made);
  if (key !== drawn || box.hidden) {
    const focused = group.contains(document.activeElement) ? document.activeElement.dataset.word : null;
    if (pressed !== null && !made.some(({ at }) => at === pressed)) pressed = null;
    group.replaceChildren(...made.map(button));
    if (focused !== null) group.querySelector(`[data-word="${focused}"]`)?.focus({ preventScroll: true });
    drawn = key;
  }
  box.hidden = !made.length;
  if (pressed !== null) show();
  else for (const each of group.children) each.setAttribute("aria-pressed", "false");
}

element.addEventListener("click", (event) => {
  const at = event.target.closest("[data-word]")?.dataset.word;
  if (at !== undefined) press(Number(at) === pressed ? null : Number(at));
});
addEventListener("keydown", (event) => { if (event.key === "Escape" && pressed !== null) press(null); });
document.addEventListener("metaembed:read", ({ detail }) => {
  if (!detail && !telling && pressed !== null) setTimeout(show); // the pointer has left the matrix
});
const later = () => requestAnimationFrame(() => requestAnimationFrame(draw)); // after the scripts that draw page and matrix
for (const name of ["map", "page", "results"]) document.addEventListener(`metaembed:${name}`, later);
