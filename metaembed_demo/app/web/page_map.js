// The word list next to the overlay: outlines a word on the page; starts and stops the test.
element.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  if (action === "test") trigger("submit", { action });
  if (action === "stop-test") trigger("clear", {});
});

const outline = (event) => {
  const row = event.target.closest("[data-word]");
  window.metaembed.tell("word", row && event.type !== "pointerout" ? Number(row.dataset.word) : null);
};
element.addEventListener("pointerover", outline);
element.addEventListener("pointerout", outline);
