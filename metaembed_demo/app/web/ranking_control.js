// What ranks pages, the steps of query refinement, and what refines: groups of radio buttons.
let open = false; // whether refinement is shown, because an answer redraws it closed
let focused = ""; // the focused button, for the same reason
const chosen = (name) => element.querySelector(`[name=${name}]:checked`)?.value ?? "";

element.addEventListener("change", (event) => {
  if (event.target.type !== "radio") return;
  trigger("input", { mode: chosen("mode"), steps: chosen("steps"), complement: chosen("complement") });
});
element.addEventListener("toggle", (event) => { if (event.target.matches(".refine")) open = event.target.open; }, true);
element.addEventListener("focusin", ({ target }) => { focused = target.type === "radio" ? target.name : ""; });
element.addEventListener("focusout", (event) => { if (event.relatedTarget) focused = ""; });

watch("value", () => {
  // Gradio changes the attribute, which a button that was clicked no longer follows.
  for (const each of element.querySelectorAll("[type=radio]")) each.checked = each.hasAttribute("checked");
  const refine = element.querySelector(".refine");
  if (refine) refine.open = open;
  if (element.querySelector("[data-unread]")) trigger("submit", {}); // the complement has pages to read
  const lost = !document.activeElement || document.activeElement === document.body;
  if (focused && lost) element.querySelector(`[name=${focused}]:checked`)?.focus({ preventScroll: true });
});
