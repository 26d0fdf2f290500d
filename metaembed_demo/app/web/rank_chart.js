// A rank in the table, which its point in the chart presses too, opens the page at that budget.
let here = null; // page and stop of the focused rank

element.addEventListener("click", (event) => {
  const go = event.target.closest(".go");
  if (go) trigger("select", { page: go.dataset.page, stop: Number(go.dataset.stop) });
});
element.addEventListener("focusin", ({ target }) => { here = target.matches(".go") ? { ...target.dataset } : null; });

document.addEventListener("pointerdown", ({ target }) => { if (!element.contains(target)) here = null; });

// An answer may replace the buttons, or put the pages in another order: the focus follows the page.
watch("value", () => setTimeout(() => {
  const lost = document.activeElement === document.body;
  if (!here || !(lost || element.contains(document.activeElement))) return;
  const same = (each) => each.dataset.page === here.page && each.dataset.stop === here.stop;
  const found = [...element.querySelectorAll(".go")].find(same);
  if (!found) return;
  found.closest("details").open = true;
  found.focus({ preventScroll: true });
}));
