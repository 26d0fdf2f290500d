// Shown at a first visit until the first search; "how it works" in the header brings it back.
const KEY = "metaembed-tour";
const tour = element.querySelector(".tour");

function end() {
  tour.hidden = true;
  try { localStorage.setItem(KEY, "seen"); } catch { /* shown again at the next visit */ }
}

let seen = false;
try { seen = localStorage.getItem(KEY) === "seen"; } catch { /* storage may be off */ }
const address = new URLSearchParams(location.search);
const plays = document.querySelector("#examples [data-mode]") && !address.has("still") && !address.has("q");
tour.hidden = seen || Boolean(plays); // web/landing.js would take it away at once, and all below would move
element.addEventListener("click", (event) => { if (event.target.closest("button")) end(); });
document.addEventListener("metaembed:page", () => { if (!tour.hidden && document.querySelector("#results .hit")) end(); });
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-tour]")) return;
  document.querySelector("#rooms [role=tab]")?.click();
  tour.hidden = false;
  tour.querySelector("button").focus();
});
