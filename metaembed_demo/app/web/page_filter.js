// Which pages are searched: chips that can be taken away, and a form that opens below its button.
let next = -1; // the chip to focus after an answer; none: the button
let sent = false;
const how = () => element.querySelector(".only-how");
const chips = () => [...element.querySelectorAll(".only-chip button")];

function send(filter, focus = -1) {
  [next, sent] = [focus, true];
  trigger("input", { filter });
}

// Escape and a click elsewhere close it by popover.js.
function close() {
  if (how()) how().open = false;
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-filter]");
  if (button) send(button.dataset.filter, chips().indexOf(button));
});

// From and to as the filter writes them: 3-10, 3-, -10; days with two dots.
function span(field) {
  const [from, to] = element.querySelectorAll(`[data-end=${field}]`);
  if (!from || !(from.value || to.value)) return [];
  if (from.value === to.value) return [from.value];
  return [`${from.value}${field === "added" ? ".." : "-"}${to.value}`];
}

function ordered(field) {
  const [from, to] = element.querySelectorAll(`[data-end=${field}]`);
  if (!from) return true;
  const turned = from.value && to.value
    && (field === "added" ? from.value > to.value : Number(from.value) > Number(to.value));
  to.setCustomValidity(turned ? "This ends before it begins." : "");
  return to.reportValidity();
}

element.addEventListener("input", ({ target }) => {
  for (const each of element.querySelectorAll(`[data-end=${target.dataset.end}]`)) each.setCustomValidity("");
});

element.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!["pages", "added"].every(ordered)) return;
  const data = new FormData(event.target);
  const filter = {};
  for (const field of ["documents", "types", "languages", "pages", "added", "places"]) {
    const all = [...span(field), ...data.getAll(field).filter((each) => each.trim())];
    if (all.length) filter[field] = all;
  }
  send(filter);
});

element.addEventListener("focusout", ({ relatedTarget }) => {
  if (relatedTarget && !how()?.contains(relatedTarget)) close();
});

watch("value", () => {
  // Gradio changes attributes, which what was clicked or typed no longer follows.
  element.querySelector(".only-form")?.reset();
  if (!sent) return;
  sent = false;
  close();
  const focus = next < 0 ? undefined : chips()[Math.min(next, chips().length - 1)];
  (focus ?? element.querySelector(".only-how summary"))?.focus({ preventScroll: true });
});
