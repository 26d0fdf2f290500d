// The list beside the overlay: a word in it is outlined on the page; the test is started and stopped.
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
