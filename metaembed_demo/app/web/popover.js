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

// The height of what stays on top, under which the panes stick: the strip, on a phone the dial's row alone.
const rows = ["strip", "turn"].map((id) => document.getElementById(id));
const height = () => (rows.find((each) => each.offsetHeight)?.offsetHeight ?? 0);
new ResizeObserver(() => document.documentElement.style.setProperty("--strip", `${height()}px`)).observe(rows[1]);
