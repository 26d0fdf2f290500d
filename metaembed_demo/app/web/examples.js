// A measured example is asked in the mode of its claim. played: by the landing, which fills in the query itself.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-query]");
  if (!button) return;
  trigger("select", { query: button.dataset.query, mode: button.dataset.mode || "", played: !event.isTrusted });
});
