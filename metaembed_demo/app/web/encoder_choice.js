// Choice of the encoder and of the visual tokens per page.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action=encoder], [data-action=reader]");
  if (!button || button.disabled || button.getAttribute("aria-pressed") === "true") return;
  element.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  trigger("submit", { value: button.dataset.value, tokens: Number(button.dataset.tokens || 0) });
});
