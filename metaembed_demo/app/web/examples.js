element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-query]");
  if (button) trigger("select", { query: button.dataset.query });
});
