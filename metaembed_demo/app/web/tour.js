// Shown until it is dismissed, once per browser.
const KEY = "metaembed-tour";
const tour = element.querySelector(".tour");
let seen = false;
try { seen = localStorage.getItem(KEY) === "seen"; } catch { /* storage may be off */ }
tour.hidden = seen;
element.addEventListener("click", (event) => {
  if (!event.target.closest("button")) return;
  tour.hidden = true;
  try { localStorage.setItem(KEY, "seen"); } catch { /* shown again at the next visit */ }
});
