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
const strip = document.getElementById("strip"), dial = document.getElementById("turn");
new ResizeObserver(() => {
  const root = document.documentElement.style;
  root.setProperty("--above", `${dial.offsetTop}px`);
  root.setProperty("--strip", `${strip.offsetHeight + parseFloat(getComputedStyle(strip).top)}px`);
}).observe(strip);
