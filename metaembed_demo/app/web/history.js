// One entry of the browser's history for each search. The other moves change the entry that is open.
// Back and Forward ask the server for the view that their address names. Tells what of a visit is gone.
const { address, shown, stored, store } = window.metaembed;
const TITLE = "MetaEmbed demo";
const search = () => { const { q = "", picture = "" } = shown(); return `${picture} ${q}`; };
let last = null; // the search that the open entry shows; null: what is shown next belongs to that entry

function follow() {
  const { q, picture = "" } = shown(), now = search(), next = last !== null && now !== last;
  last = now;
  history[next ? "pushState" : "replaceState"]({ ...(next ? {} : history.state), picture }, "", address());
  const named = q || (picture ? "a picture" : "");
  document.title = named ? `${named} - ${TITLE}` : TITLE;
}

// The address is not changed before the server's first answer.
document.addEventListener("metaembed:shown", () => requestAnimationFrame(follow));
for (const kind of ["click", "keyup"])
  document.addEventListener(kind, (event) => {
    if (event.target.closest?.("[role=tab]")) setTimeout(() => { if (last !== null) follow(); }, 50);
  });

addEventListener("popstate", (event) => {
  const picture = event.state?.picture ?? "", query = new URLSearchParams(location.search).get("q") ?? "";
  last = `${picture} ${query}` === search() ? search() : null;
  trigger("submit", { query: location.search, picture });
});

// What is gone with a session that the server does not know any more
function gone(own, restarted) {
  document.getElementById("gone")?.remove();
  const told = Object.assign(document.createElement("aside"), { id: "gone" });
  told.setAttribute("role", "status");
  const what = own === 1 ? "1 document of your visit is gone" : `${own} documents of your visit are gone`;
  const why = restarted ? "the server was restarted" : "the visit was over";
  told.append(Object.assign(document.createElement("p"), { textContent: `${what}: ${why}.` }));
  const add = Object.assign(document.createElement("button"), { type: "button", textContent: "Add them again" });
  add.addEventListener("click", () => {
    told.remove();
    const tabs = [...document.querySelectorAll("#rooms [role=tab]")];
    tabs.find((tab) => tab.textContent.trim() === "Documents")?.click();
  });
  told.append(add);
  document.body.append(told);
}

watch("value", () => {
  const told = element.querySelector("[data-visit]")?.dataset.visit;
  if (!told) return;
  const now = JSON.parse(told), before = stored();
  if (before.session && before.session !== now.session && before.own)
    gone(before.own, before.session.split(".")[0] !== now.session.split(".")[0]);
  store(now);
  // A page that loads without a search is an entry, too.
  if (last === null && !new URLSearchParams(location.search).get("q") && !history.state?.picture) follow();
});
