// The word list next to the overlay: outlines a word on the page; makes a map, starts and stops the test.
element.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  if (action === "stop-test") trigger("clear", {});
  else if (action) trigger("submit", { action }); // "test", "map", or a kind of map
});

// The button to stop is drawn anew with each step, so that a click may begin on one and end on the next.
element.addEventListener("pointerdown", (event) => {
  if (event.target.closest("[data-action=stop-test]")) trigger("clear", {});
});

// A map that a GPU makes begins where it is shown.
watch("value", () => {
  if (element.querySelector("[data-begin]")) trigger("submit", { action: "map" });
});

const outline = (event) => {
  const row = event.target.closest("[data-word]");
  window.metaembed.tell("word", row && event.type !== "pointerout" ? Number(row.dataset.word) : null);
};
element.addEventListener("pointerover", outline);
element.addEventListener("pointerout", outline);
