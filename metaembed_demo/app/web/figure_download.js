// Saves any <figure data-figure> as PNG, SVG (of plotly's), JSON or CSV in the browser, with where it comes from. Included once in <head>; it listens on the
// document, so figures added later work too.
(() => {
  const SCALE = 2;
  const MARGIN = 24; // px of paper around a figure in its PNG
  const UNDRAWN = "[data-undrawn], details:not([open]), input, dialog, script, style, .hidden";
  const SPARE = /^(--|-webkit-(?!line-clamp|box-orient)|animation|transition|cursor|pointer-events|d$)|(^|-)(inline|block|start|end)-/;
  const WIDTH = /^(border-(top|right|bottom|left)|outline|column-rule)-width$/; // 3px where a style comes without
  const SVG = "http://www.w3.org/2000/svg";

  function save(figure, kind, content, part = "") {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = `metaembed-${figure.dataset.figure}${part}.${kind}`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // CSV. An apostrophe keeps spreadsheets from running a cell as a formula.
  function cell(value) {
    let text = value === null || value === undefined ? "" : String(value);
    if (/^[=+\-@\t\r]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }
  const csv = (rows) => rows.map((row) => row.map(cell).join(",") + "\r\n").join("");

  // PNG. Computed styles are written into each element, because style sheets do not apply inside the picture.
  let names, plain, frame; // relevant properties; tag -> values without style sheets; the frame that provides those

  const read = (style) => new Map(names.map((name) => [name, style.getPropertyValue(name)]));

  function unstyled(node) {
    const key = `${node.namespaceURI} ${node.localName}`;
    if (!plain.has(key)) {
      const { body } = frame.contentDocument;
      const inside = node.namespaceURI === SVG && node.localName !== "svg";
      const parent = inside ? body.appendChild(frame.contentDocument.createElementNS(SVG, "svg")) : body;
      const bare = parent.appendChild(frame.contentDocument.createElementNS(node.namespaceURI, node.localName));
      plain.set(key, read(frame.contentWindow.getComputedStyle(bare)));
      bare.remove();
    }
    return plain.get(key);
  }

  function inline(values, bare, above) {
    let text = "";
    for (const [name, value] of values) {
      const same = value === bare.get(name) && (!above || value === above.get(name));
      if (!same || WIDTH.test(name)) text += `${name}:${value};`;
    }
    return text;
  }

  function pseudo(node, which, above) {
    const style = getComputedStyle(node, which);
    if (style.content === "none" || style.content === "normal" || style.display === "none") return null;
    const made = document.createElement("span");
    made.textContent = style.content.match(/^"(.*)"$/)?.[1] ?? "";
    made.setAttribute("style", inline(read(style), unstyled(made), above));
    return made;
  }

  // Keep single-line text on one line, although glyphs may be slightly wider in the picture.
  function oneLine(node) {
    if (!node.textContent.trim()) return false;
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()];
    return Math.max(...boxes.map((box) => box.top)) < Math.min(...boxes.map((box) => box.bottom));
  }

  const drawnAtAll = (node) => !node.matches(UNDRAWN) && getComputedStyle(node).display !== "none";

  function copy(node, above) {
    const made = node.cloneNode(false);
    for (const { name } of [...made.attributes])
      if (/^(data-|aria-|on)|^(id|class|title|tabindex)$/.test(name)) made.removeAttribute(name);
    const values = read(getComputedStyle(node));
    let style = inline(values, unstyled(node), above);
    const html = node.namespaceURI !== SVG;
    if (html && oneLine(node)) style += "white-space:nowrap;";
    // Boxes shrink to their remaining content when a part is not drawn.
    if (html && [...node.querySelectorAll(UNDRAWN)].length) style += "height:auto;grid-template-rows:none;";
    made.setAttribute("style", style);
    if (html) made.append(pseudo(node, "::before", values) ?? "");
    for (const each of node.childNodes)
      if (each.nodeType === Node.TEXT_NODE) made.append(each.cloneNode());
      else if (each.nodeType === Node.ELEMENT_NODE && drawnAtAll(each)) made.append(copy(each, values));
    if (html) made.append(pseudo(node, "::after", values) ?? "");
    return made;
  }

  function picture(figure) {
    const probe = document.createElement("div"); // both are off-screen
    frame = document.createElement("iframe");
    frame.setAttribute("style", "position:fixed;width:0;height:0;border:0;visibility:hidden");
    const width = Math.ceil(figure.getBoundingClientRect().width);
    probe.setAttribute("style", `position:absolute;left:-99999px;top:0;width:${width}px`);
    document.body.append(frame, probe);
    names = [...getComputedStyle(figure)].filter((name) => !SPARE.test(name));
    plain = new Map();
    try {
      const drawn = copy(figure, null);
      Object.assign(drawn.style, { margin: "0", position: "relative", inset: "auto" });
      probe.append(drawn);
      const height = Math.ceil(drawn.getBoundingClientRect().height);
      return paint(new XMLSerializer().serializeToString(drawn), width, height);
    } finally {
      frame.remove();
      probe.remove();
    }
  }

  async function paint(markup, width, height) {
    const full = [width + 2 * MARGIN, height + 2 * MARGIN];
    const svg =
      `<svg xmlns="${SVG}" width="${full[0] * SCALE}" height="${full[1] * SCALE}" viewBox="0 0 ${full[0]} ${full[1]}">` +
      `<foreignObject x="${MARGIN}" y="${MARGIN}" width="${width}" height="${height}" overflow="visible">${markup}</foreignObject></svg>`;
    const clean = svg.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Cs}/gu, ""); // not allowed in XML
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(clean)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = full.map((each) => each * SCALE);
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(document.body).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  const plotOf = (figure) => figure.querySelector(":scope > .plot");
  const titled = (figure) => figure.querySelector("h3")?.textContent ?? "";

  async function plotted(figure, kind, from) { // as plotly draws it, with its note and where it comes from
    const note = figure.querySelector(":scope > figcaption")?.textContent ?? "";
    const told = ["MetaEmbed demo", ...Object.entries(from).map(([name, value]) => `${name} ${value}`)].join(" · ");
    const url = await window.metaembedPlots.picture(plotOf(figure), kind, titled(figure), [note, told].filter(Boolean));
    const [head, data] = [url.slice(5, url.indexOf(",")), url.slice(url.indexOf(",") + 1)]; // "data:TYPE[;base64],DATA"
    const bytes = head.endsWith("base64") ? Uint8Array.from(atob(data), (each) => each.charCodeAt(0)) : decodeURIComponent(data);
    return new Blob([bytes], { type: head.split(/[;,]/)[0] });
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("figure[data-figure] [data-save]");
    if (!button) return;
    const figure = button.closest("figure"), kind = button.dataset.save, { json, rows, queries } = figure.dataset;
    const from = { ...JSON.parse(document.querySelector("[data-provenance]")?.dataset.provenance ?? "{}"), ...JSON.parse(figure.dataset.from ?? "{}"), saved: new Date().toISOString() };
    if (kind === "json") {
      const content = { figure: figure.dataset.figure, title: titled(figure), provenance: from, data: JSON.parse(json), ...(queries && { queries: JSON.parse(queries) }) };
      return save(figure, kind, new Blob([`${JSON.stringify(content, null, 1)}\n`], { type: "application/json" }));
    }
    if (kind === "csv" || kind === "queries") { // the same in every row, as comments would not be read everywhere
      const [head, ...body] = JSON.parse(kind === "csv" ? rows : queries), told = Object.values(from);
      const whole = [[...head, ...Object.keys(from)], ...body.map((row) => [...row, ...told])];
      return save(figure, "csv", new Blob([csv(whole)], { type: "text/csv;charset=utf-8" }), kind === "csv" ? "" : "-queries");
    }
    button.disabled = true; // one picture at a time
    try {
      save(figure, kind, await (plotOf(figure) ? plotted(figure, kind, from) : picture(figure)));
    } catch (error) {
      console.error("The picture could not be made:", error);
      button.textContent = `${kind.toUpperCase()} failed`;
    } finally {
      button.disabled = false;
    }
  });
})();
