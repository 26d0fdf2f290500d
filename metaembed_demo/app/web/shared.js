// What the page's scripts share: the data that regions carry in attributes, parsed once.
window.metaembed = (() => {
  const kept = new Map();
  function data(selector, name) {
    const text = document.querySelector(selector)?.dataset[name];
    if (!text) return null;
    if (kept.get(name)?.text !== text) kept.set(name, { text, value: JSON.parse(text) });
    return kept.get(name).value;
  }
  const pairs = (row) => Array.from({ length: row.length / 2 }, (_, i) => [row[2 * i], row[2 * i + 1]]);
  return {
    reading: () => data("#page [data-reading]", "reading"), // words of the page, what each token read of it
    map: () => data("#marks [data-map]", "map"), // words of the query, shares of the hit's score
    pairs, // [index, weight, index, weight, ...] -> [[index, weight], ...]
    tell: (name, detail) => document.dispatchEvent(new CustomEvent(`metaembed:${name}`, { detail })),
    percent: (thousandths) => `${thousandths >= 95 ? Math.round(thousandths / 10) : (thousandths / 10).toFixed(1)}%`,
  };
})();
