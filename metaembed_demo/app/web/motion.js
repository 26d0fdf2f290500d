// Motion of the hits when the same query is ranked in another way: rows glide to their new ranks, pages that come
// fade in, pages that go stay for a moment. Gradio changes the rows in place, so each is known by its page.
(() => {
  const HOW = { duration: 260, easing: "ease-out" };
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let kept = new Map(); // page -> where its row is, and a copy of it

  const list = () => document.querySelector("#results .results ol");
  const rows = () => [...(list()?.querySelectorAll(":scope > li[data-page]") ?? [])];

  // Places within #results, without the transforms of a motion under way.
  function places() {
    return new Map(rows().map((row) => [row.dataset.page, {
      row, left: row.offsetLeft, top: row.offsetTop, width: row.offsetWidth, height: row.offsetHeight,
      copy: row.cloneNode(true),
    }]));
  }

  function leave(gone) {
    if (!gone.length) return;
    const ghosts = document.createElement("div");
    ghosts.className = `ghosts ${list().closest(".results").className}`;
    ghosts.inert = true;
    ghosts.ariaHidden = "true";
    ghosts.append(document.createElement("ol"));
    for (const { copy, left, top, width, height } of gone) {
      Object.assign(copy.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
      ghosts.firstChild.append(copy);
    }
    document.getElementById("results").append(ghosts);
    ghosts.animate([{ opacity: 0.7 }, { opacity: 0 }], { ...HOW, fill: "forwards" }).finished
      .catch(() => null).then(() => ghosts.remove());
  }

  function arrive({ row, left, top }, was) {
    if (!was) return row.animate([{ opacity: 0 }, { opacity: 1 }], HOW);
    const [x, y] = [was.left - left, was.top - top];
    if (!x && !y) return null;
    const zIndex = y > 0 || x > 0 ? 2 : 1; // what rises passes over what falls
    return row.animate([{ transform: `translate(${x}px, ${y}px)`, zIndex }, { transform: "none", zIndex }], HOW);
  }

  document.addEventListener("metaembed:results", () => {
    document.querySelectorAll("#results > .ghosts").forEach((each) => each.remove());
    for (const row of rows()) row.getAnimations().forEach((each) => each.cancel());
    const before = kept;
    kept = places();
    if (calm.matches || !before.size || !list()?.closest("[data-moved]")) return;
    for (const [page, at] of kept) arrive(at, before.get(page));
    leave([...before].filter(([page]) => !kept.has(page)).map(([, at]) => at));
  });
  // A list that was laid out anew, as a grid or by another width, is where the next motion starts.
  const sized = new ResizeObserver(() => { kept = places(); });
  let watched = null;
  document.addEventListener("metaembed:results", () => {
    if (list() === watched) return;
    sized.disconnect();
    watched = list();
    if (watched) sized.observe(watched);
  });
})();
