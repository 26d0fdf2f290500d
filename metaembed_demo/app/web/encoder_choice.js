// Choice of the encoder and of the visual tokens per page.
function choose(value, tokens) {
  element.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  trigger("submit", { value, tokens });
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action=encoder], [data-action=reader]");
  if (!button || button.disabled || button.getAttribute("aria-pressed") === "true") return;
  choose(button.dataset.value, Number(button.dataset.tokens || 0));
});

document.addEventListener("metaembed:reader", ({ detail }) => choose(detail, 0)); // from the note above the hits
