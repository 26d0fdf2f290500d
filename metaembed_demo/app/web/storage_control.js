// The storage control: four kinds, options of the current one, and the check against exact search.
const kinds = () => [...element.querySelectorAll("[data-kind]")];
let cancelled = false; // the conversion was cancelled, but updates may still arrive
let focused = ""; // the focused element, because an answer redraws the control

const name = (each) =>
  ["kind", "set", "action"].filter((key) => each?.dataset?.[key]).map((key) => `[data-${key}="${each.dataset[key]}"]`)[0] ?? "";

function stopping() {
  const cancel = element.querySelector("[data-action=cancel]");
  if (!cancel) { cancelled = false; return; }
  cancel.setAttribute("aria-disabled", "true"); // it keeps the focus
  cancel.textContent = "Stopping…";
}

element.addEventListener("focusin", (event) => { focused = name(event.target); });
element.addEventListener("focusout", (event) => { if (event.relatedTarget) focused = ""; });

element.addEventListener("click", (event) => {
  const kind = event.target.closest("[data-kind]");
  if (kind) {
    if (kind.getAttribute("aria-pressed") === "true" || element.querySelector(".coming")) return;
    if (!kind.hasAttribute("aria-disabled")) kind.classList.add("coming"); // otherwise the server reports what is missing
    return trigger("submit", { value: kind.dataset.kind });
  }
  const action = event.target.closest("[data-action]");
  if (!action || action.getAttribute("aria-disabled") || action.disabled) return;
  if (action.dataset.action === "cancel") {
    cancelled = true;
    stopping();
    return trigger("clear");
  }
  action.disabled = true;
  if (action.dataset.action === "check") action.textContent = "Checking…";
  else focused = '[data-action="check"]';
  trigger("select", { action: action.dataset.action });
});

element.addEventListener("change", (event) => {
  const { set } = event.target.dataset;
  if (set) trigger("input", { name: set, value: set === "rescore" ? event.target.checked : event.target.value });
});

element.addEventListener("keydown", (event) => {
  const at = kinds().indexOf(event.target.closest("[data-kind]"));
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: 3 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  kinds()[Math.max(0, Math.min(3, to))].focus();
});

watch("value", () => {
  if (cancelled) stopping();
  const lost = !document.activeElement || document.activeElement === document.body;
  const again = focused && (element.querySelector(focused) ?? element.querySelector("[aria-pressed=true]"));
  if (again && lost) again.focus({ preventScroll: true });
});
