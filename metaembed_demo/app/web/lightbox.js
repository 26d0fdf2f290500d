// The open page at full size: zoomed by wheel, keys, buttons, a double click or two fingers, panned by dragging,
// arrow keys or scrolling. The picture is made on demand, so that it is not decoded twice.
(() => {
  const [LEAST, MOST, STEP] = [1, 8, 1.5];
  const clamp = (value) => Math.max(LEAST, Math.min(MOST, value));
  const pointers = new Map(); // pointer -> its last event
  let [zoom, apart] = [1, 0];

  const open = () => document.querySelector("dialog.lightbox[open]");
  const room = (dialog) => dialog.querySelector(".lightbox-room");

  // Zoom so that the point of the picture at `at` (of the window) stays where it is.
  function scale(dialog, to, at) {
    const box = room(dialog), sheet = box.firstElementChild, before = sheet.getBoundingClientRect();
    const middle = box.getBoundingClientRect();
    const x = at?.x ?? middle.x + middle.width / 2, y = at?.y ?? middle.y + middle.height / 2;
    const [across, down] = [(x - before.x) / before.width, (y - before.y) / before.height];
    zoom = clamp(to);
    sheet.style.setProperty("--zoom", zoom);
    const after = sheet.getBoundingClientRect();
    box.scrollBy(after.x + across * after.width - x, after.y + down * after.height - y);
    dialog.querySelector("output").textContent = `${Math.round(zoom * 100)}%`;
    dialog.querySelector("[data-zoom=out]").disabled = zoom === LEAST;
    dialog.querySelector("[data-zoom=in]").disabled = zoom === MOST;
    box.classList.toggle("zoomed", zoom > LEAST);
  }

  function show(picture) {
    const dialog = picture.closest(".page").querySelector("dialog");
    room(dialog).replaceChildren(picture.querySelector(".sheet").cloneNode(true));
    dialog.showModal();
    scale(dialog, 1);
    room(dialog).focus({ focusVisible: false });
  }

  document.addEventListener("click", ({ target }) => {
    const picture = target.closest(".page .picture");
    if (picture) return show(picture);
    const dialog = open();
    if (!dialog) return;
    const button = target.closest("[data-zoom]");
    if (button) return scale(dialog, zoom * (button.dataset.zoom === "in" ? STEP : 1 / STEP));
    if (target === dialog) dialog.close();
  });
  document.addEventListener("dblclick", (event) => {
    const dialog = open();
    if (dialog && room(dialog).contains(event.target)) scale(dialog, zoom > LEAST ? LEAST : 2.5, event);
  });
  document.addEventListener("wheel", (event) => {
    const dialog = open();
    if (!dialog || !room(dialog).contains(event.target)) return;
    event.preventDefault();
    scale(dialog, zoom * Math.exp(-event.deltaY / 400), event);
  }, { passive: false });
  document.addEventListener("keydown", (event) => {
    const dialog = open();
    if (!dialog || event.ctrlKey || event.metaKey) return;
    const to = { "+": zoom * STEP, "=": zoom * STEP, "-": zoom / STEP, 0: LEAST }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    scale(dialog, to);
  });

  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { size: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  };
  document.addEventListener("pointerdown", (event) => {
    const dialog = open();
    if (!dialog || !room(dialog).contains(event.target) || event.button) return;
    pointers.set(event.pointerId, event);
    if (pointers.size === 2) apart = spread().size;
  });
  document.addEventListener("pointermove", (event) => {
    const dialog = open(), before = pointers.get(event.pointerId);
    if (!dialog || !before) return;
    pointers.set(event.pointerId, event);
    if (pointers.size === 2) {
      const now = spread();
      scale(dialog, zoom * (now.size / apart), now);
      apart = now.size;
    } else {
      room(dialog).scrollBy(before.x - event.x, before.y - event.y);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
})();
