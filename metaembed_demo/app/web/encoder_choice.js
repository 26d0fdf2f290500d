// Another encoder, or more or fewer visual tokens a page: one choice at a time.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action=encoder]");
  if (!button || button.disabled || button.getAttribute("aria-pressed") === "true") return;
  element.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  trigger("submit", { value: button.dataset.value, tokens: Number(button.dataset.tokens) });
});
