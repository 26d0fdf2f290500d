// A rank in the table, which its point in the chart presses too, opens the page at that budget.
let here = null; // page and stop of the focused rank

element.addEventListener("click", (event) => {
  const go = event.target.closest(".go");
  if (go) trigger("select", { page: go.dataset.page, stop: Number(go.dataset.stop) });
});
element.addEventListener("focusin", ({ target }) => { here = target.matches(".go") ? { ...target.dataset } : null; });

// Gradio reuses the buttons for an answer with the pages in another order: the focus follows the page.
watch("value", () => {
  if (!here || !element.contains(document.activeElement)) return;
  const same = (each) => each.dataset.page === here.page && each.dataset.stop === here.stop;
  [...element.querySelectorAll(".go")].find(same)?.focus({ preventScroll: true });
});
