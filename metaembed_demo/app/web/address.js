// The page's address, which names the view, and what the browser keeps of the tab in its session storage.
Object.assign(window.metaembed, (() => {
  const KEY = "metaembed-visit";
  const slug = (text) => text.trim().toLowerCase().replaceAll(" ", "-");
  const selected = (root) =>
    slug(document.querySelector(`${root} [role=tablist] [role=tab][aria-selected=true]`)?.textContent ?? "");
  const shown = () => JSON.parse(document.querySelector("#link .link")?.dataset.link || "{}");

  function address() {
    const url = new URL(location.href), view = shown();
    const set = (name, value, plain) => {
      if (value && value !== plain) url.searchParams.set(name, value);
      else url.searchParams.delete(name);
    };
    const searched = view.q || view.picture;
    const named = ["q", "budget", "only", "mode", "steps", "complement", "storage", "a", "a-budget", "hit"];
    for (const name of named) set(name, searched ? view[name] : "");
    url.searchParams.delete("language"); // of older links; `only` says it now
    set("tab", searched ? selected("#evidence-tabs") : "", "alignment");
    set("room", selected("#rooms"), "search");
    return url;
  }

  // A browser may refuse the storage, such as in a frame of another site.
  function stored() {
    try { return JSON.parse(sessionStorage.getItem(KEY)) ?? {}; } catch { return {}; }
  }
  function store(visit) {
    try { sessionStorage.setItem(KEY, JSON.stringify(visit)); } catch { /* then a reload starts anew */ }
  }
  // What the server is told when the page loads, see visitors/resuming.py.
  const kept = () => JSON.stringify({ tab: stored().tab ?? "", picture: history.state?.picture ?? "" });
  return { address, shown, stored, store, kept };
})());
