// A double click on an action is one action, and so is a key that is held down.
(() => {
  const ACTIONS = "[data-action], [data-remove], [data-query], button[data-copy], #query button, #cancel";
  addEventListener("click", (event) => {
    if (event.detail < 2 || !event.target.closest?.(ACTIONS)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.repeat || !event.target.closest?.(`${ACTIONS}, #query`)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
})();
