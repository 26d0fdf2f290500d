// A rank in the table, which its point in the chart presses too, or a page in a column opens the page at that budget.
let here = null; // page and stop of the focused rank

element.addEventListener("click", (event) => {
  const go = event.target.closest(".go");
  if (go) return trigger("select", { page: go.dataset.page, stop: Number(go.dataset.stop) });
  const button = event.target.closest("[data-action]"); // side A
  if (button) trigger("submit", { action: button.dataset.action, value: button.dataset.value ?? "" });
});
element.addEventListener("focusin", ({ target }) => { here = target.matches(".go") ? { ...target.dataset, table: target.closest(".as-table") !== null } : null; });

document.addEventListener("pointerdown", ({ target }) => { if (!element.contains(target)) here = null; });

// An answer may replace the buttons, or put the pages in another order: the focus follows the page.
watch("value", () => setTimeout(() => {
  const lost = document.activeElement === document.body;
  if (!here || !(lost || element.contains(document.activeElement))) return;
  const same = (each) => each.dataset.page === here.page && each.dataset.stop === here.stop;
  const found = [...element.querySelectorAll(here.table ? ".as-table .go" : ".ribbons .go")].find(same);
  if (!found) return;
  if (here.table) found.closest("details").open = true;
  found.focus({ preventScroll: true });
}));
