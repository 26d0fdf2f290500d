// Points of the bump chart: a click, Enter or Space opens the page at that budget; arrow keys move the focus.
let here = null; // page and stop of the last focused point

const points = () => [...element.querySelectorAll(".ranks-point")];
const find = (page, stop) => points().find((each) => each.dataset.page === page && each.dataset.stop === String(stop));

function reach(point) { // only the last used point is a tab stop
  points().forEach((each) => { each.tabIndex = each === point ? 0 : -1; });
}

function open(point) {
  reach(point);
  trigger("select", { page: point.dataset.page, stop: Number(point.dataset.stop) });
}

// Left and right stay on a page; up and down go to the point above or below at the same stop.
function next(point, key) {
  const { page } = point.dataset, stop = Number(point.dataset.stop);
  const to = { ArrowRight: stop + 1, ArrowLeft: stop - 1, Home: 0, End: 4 }[key];
  if (to !== undefined) return find(page, to);
  const column = points().filter((each) => each.dataset.stop === point.dataset.stop)
    .sort((a, b) => parseFloat(a.style.top) - parseFloat(b.style.top));
  return column[column.indexOf(point) + (key === "ArrowDown" ? 1 : -1)];
}

function light(page) { // highlights a line and its title together
  for (const each of element.querySelectorAll(".ranks-line, .ranks-list li"))
    each.classList.toggle("ranks-lit", each.dataset.page === page);
}

element.addEventListener("click", (event) => {
  const point = event.target.closest(".ranks-point");
  if (point) open(point);
});

element.addEventListener("keydown", (event) => {
  const point = event.target.closest(".ranks-point");
  if (!point) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    return open(point);
  }
  if (!["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  const to = next(point, event.key);
  if (!to) return;
  reach(to);
  to.focus();
});

element.addEventListener("focusin", (event) => {
  const point = event.target.closest(".ranks-point");
  here = point && { ...point.dataset };
});
for (const name of ["pointerover", "focusin"])
  element.addEventListener(name, (event) => light(event.target.closest("[data-page]")?.dataset.page));
for (const name of ["pointerleave", "focusout"])
  element.addEventListener(name, () => light(null));

// Gradio reuses the points for an answer with the pages in another order: the focus follows the page, unless it
// has left the chart.
watch("value", () => {
  const point = here && element.contains(document.activeElement) && find(here.page, here.stop);
  if (!point) return;
  reach(point);
  point.focus({ preventScroll: true });
});
