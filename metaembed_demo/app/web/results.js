// The hits: as a list or a grid, opened by a click or Enter, walked with the arrow keys, enlarged under the pointer.
const KEY = "metaembed-hits";
const LENS_MS = 350;
let as = "list";
try { as = localStorage.getItem(KEY) === "grid" ? "grid" : "list"; } catch { /* storage may be off */ }

// A line under each word that the query meets literally.
function mark(sheet) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ class: "met", viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true" }))
    drawing.setAttribute(name, value);
  const path = document.createElementNS(drawing.namespaceURI, "path");
  path.setAttribute("d", sheet.dataset.met.replace(/(\d+) (\d+) (\d+)/g, "M$1 $2h$3"));
  drawing.append(path);
  sheet.append(drawing);
}

function lay() {
  for (const sheet of element.querySelectorAll("[data-met]:not(:has(.met))")) mark(sheet);
  element.querySelector(".results")?.classList.toggle("grid", as === "grid");
  for (const each of element.querySelectorAll("[data-as]")) each.setAttribute("aria-pressed", each.dataset.as === as);
}

// Another encoder reads all pages; the hits follow by themselves when it is done.
function askReader(button) {
  button.disabled = true;
  button.textContent = "Reading all pages again…";
  trigger("apply", { value: button.dataset.value });
}

element.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]");
  if (action?.dataset.action === "reader") return askReader(action);
  if (action) return trigger("submit", { action: action.dataset.action, value: action.dataset.value || "" });
  const way = event.target.closest("[data-as]");
  if (way) {
    as = way.dataset.as;
    try { localStorage.setItem(KEY, as); } catch { /* a list again at the next visit */ }
    return lay();
  }
  const hit = event.target.closest(".hit");
  if (!hit) return;
  hide();
  element.querySelectorAll(".hit[aria-current]").forEach((each) => each.removeAttribute("aria-current"));
  hit.setAttribute("aria-current", "true");
  trigger("select", { page: hit.dataset.page });
  if (innerWidth < 900) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    document.getElementById("page")?.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  }
});

element.addEventListener("keydown", (event) => {
  const hit = event.target.closest(".hit");
  if (!hit) return;
  const hits = [...element.querySelectorAll(".hit")], at = hits.indexOf(hit);
  const top = (each) => each.parentElement.offsetTop;
  const row = hits.filter((each) => top(each) === top(hits[0])).length; // hits beside one another
  const to = {
    ArrowDown: at + row, ArrowUp: at - row, ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: hits.length - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  hits[Math.max(0, Math.min(hits.length - 1, to))].focus();
});

// The lens: the page beside its thumbnail, after a moment's rest of the pointer or of the focus.
let waiting = 0;

function hide() {
  clearTimeout(waiting);
  document.getElementById("lens")?.remove();
}

function magnify(box) {
  hide();
  const lens = document.createElement("div"), picture = document.createElement("img");
  lens.id = "lens";
  picture.alt = "";
  picture.onload = () => {
    const from = box.getBoundingClientRect(), size = lens.getBoundingClientRect();
    lens.style.left = `${Math.min(from.right + 8, innerWidth - size.width - 8)}px`;
    lens.style.top = `${Math.max(8, Math.min(from.top, innerHeight - size.height - 8))}px`;
    lens.style.visibility = "";
  };
  lens.style.visibility = "hidden";
  lens.append(picture);
  document.body.append(lens);
  picture.src = box.querySelector("img").src.replace(/thumbnail\.jpg$/, "page.jpg");
}

function rest(box) {
  clearTimeout(waiting);
  if (matchMedia("(hover: none)").matches) return;
  waiting = setTimeout(() => { if (box.isConnected) magnify(box); }, LENS_MS);
}

element.addEventListener("pointerover", (event) => {
  const box = event.target.closest(".thumb-box");
  if (event.pointerType === "mouse" && box) rest(box);
});
element.addEventListener("pointerout", (event) => {
  if (event.target.closest(".thumb-box")) hide();
});
element.addEventListener("focusin", ({ target }) => {
  if (target.matches(".hit:focus-visible")) rest(target.querySelector(".thumb-box"));
});
element.addEventListener("focusout", hide);
addEventListener("scroll", hide, { passive: true, capture: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

watch("value", () => {
  lay();
  window.metaembed.tell("results");
});
lay();
