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

// The storage in use is named on the button, whichever it is.
function name() {
  const kind = document.querySelector("#storage [aria-pressed=true] b")?.textContent;
  if (kind) button.querySelector(".more-kind").textContent = kind;
}
new MutationObserver(name).observe(document.getElementById("settings"), { childList: true, subtree: true, attributes: true });

// The height of the strip, under which the panes stick.
const strip = document.getElementById("strip");
new ResizeObserver(() => document.documentElement.style.setProperty("--strip", `${strip.offsetHeight}px`)).observe(strip);
