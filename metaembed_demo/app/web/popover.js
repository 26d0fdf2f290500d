// The button that opens the settings. They stay open while they are used; Escape or a click elsewhere closes them.
const button = element.querySelector("[data-opens]");
const panel = () => document.getElementById(button.dataset.opens);

function show(open, back) {
  panel().classList.toggle("open", open);
  button.setAttribute("aria-expanded", open);
  if (open) panel().querySelector("button, input, select")?.focus({ preventScroll: true });
  else if (back) button.focus();
}

button.addEventListener("click", () => show(button.getAttribute("aria-expanded") !== "true", true));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && panel()?.contains(event.target)) show(false, true);
});
document.addEventListener("pointerdown", ({ target }) => {
  if (!panel()?.contains(target) && !element.contains(target)) show(false, false);
});

// Escape and a click elsewhere close what opens below its own button, too.
const OPEN = ".refine[open], .promise[open], .only-how[open]";
document.addEventListener("keydown", (event) => {
  const shown = event.key === "Escape" && event.target.closest?.(OPEN);
  if (!shown) return;
  shown.open = false;
  shown.querySelector("summary").focus();
});
document.addEventListener("pointerdown", ({ target }) => {
  for (const each of document.querySelectorAll(OPEN)) if (!each.contains(target)) each.open = false;
});

// The storage in use is named on the button, and what is being made.
function name() {
  const of = (which) => document.querySelector(`#storage ${which} b`)?.textContent;
  const [kind, coming] = [of("[aria-pressed=true]"), of(".coming")];
  const label = coming ? `${kind} → ${coming}` : kind;
  const shown = button.querySelector(".more-kind");
  if (label && shown.textContent !== label) shown.textContent = label;
}
new MutationObserver(name).observe(document.getElementById("settings"), { childList: true, subtree: true, attributes: true });

// The heights of what stays on top, under which the panes stick, and of what a phone's strip has above the dial.
const strip = document.getElementById("strip");
new ResizeObserver(() => {
  const root = document.documentElement.style, slider = document.querySelector("#dial .slider");
  if (slider) root.setProperty("--above", `${slider.getBoundingClientRect().top - strip.getBoundingClientRect().top - 4}px`);
  root.setProperty("--strip", `${strip.offsetHeight + parseFloat(getComputedStyle(strip).top)}px`);
}).observe(strip);
