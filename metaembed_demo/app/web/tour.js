// Shown at a first visit until the first search; "how it works" in the header brings it back.
const { first } = window.metaembed;
const tour = element.querySelector(".tour");

function end() {
  tour.hidden = true;
  first.end();
}

const plays = first.plays && document.querySelector("#examples [data-mode]");
tour.hidden = first.seen() || Boolean(plays); // web/landing.js would take it away at once, and all below would move
element.addEventListener("click", (event) => { if (event.target.closest("button")) end(); });
document.addEventListener("metaembed:page", () => { if (!tour.hidden && document.querySelector("#results .hit")) end(); });
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-tour]")) return;
  document.querySelector("#rooms [role=tab]")?.click();
  tour.hidden = false;
  tour.querySelector("button").focus();
});
