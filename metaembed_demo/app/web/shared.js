// Shared by the page's scripts: data attributes of regions, parsed once, and fetched token readings.
window.metaembed = (() => {
  const kept = new Map();
  const marks = () => document.querySelector("#marks [data-map]")?.dataset;
  function data(name) {
    const text = marks()?.[name];
    if (!text) return null;
    if (kept.get(name)?.text !== text) kept.set(name, { text, value: JSON.parse(text) });
    return kept.get(name).value;
  }
  const tell = (name, detail) => document.dispatchEvent(new CustomEvent(`metaembed:${name}`, { detail }));

  // The token readings of the open page, fetched once per page when first needed.
  let read = { from: "", value: null };
  const reading = () => (read.from === marks()?.reading ? read.value : null);
  async function load() {
    const from = marks()?.reading;
    if (!from || from === read.from) return;
    read = { from, value: null };
    const answer = await fetch(from, { credentials: "same-origin" }).catch(() => null);
    const value = answer?.ok ? await answer.json() : null;
    if (read.from !== from) return; // another page was opened meanwhile
    read = { from, value };
    if (value) tell("reading");
  }
  const pairs = (row) => Array.from({ length: row.length / 2 }, (_, i) => [row[2 * i], row[2 * i + 1]]);
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { // no permission, or no secure context: use execCommand
      const field = document.createElement("textarea");
      field.value = text;
      field.style.position = "fixed";
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      return done;
    }
  }
  // A first visit plays itself (landing.js), and has the tour (tour.js) until its first search. With `?still` or a query
  // in the address nothing is played, nor where storage is off, because it would be at every visit.
  const VISITED = "metaembed-tour";
  let seen = null; // null: storage is off
  try { seen = localStorage.getItem(VISITED) === "seen"; } catch { /* off */ }
  const address = new URLSearchParams(location.search);
  const first = {
    seen: () => seen === true,
    plays: seen === false && !address.has("still") && !address.has("q"),
    end() {
      seen = true;
      try { localStorage.setItem(VISITED, "seen"); } catch { /* a first visit again */ }
    },
  };
  return {
    first,
    copy, // a text to the clipboard; whether that went well
    reading, // words of the page and token readings; null until `load` has fetched them
    load,
    map: () => data("map"), // words of the query, shares of the hit's score
    pairs, // [index, weight, index, weight, ...] -> [[index, weight], ...]
    tell,
    percent: (thousandths) => `${thousandths >= 95 ? Math.round(thousandths / 10) : (thousandths / 10).toFixed(1)}%`,
  };
})();
