// The card's side of MCP Apps (2026-01-26): it greets the host, takes its colours, and draws what a call of `explain` brings
// in `_meta`. A card that was read as a resource is there already. Nothing is fetched.
(() => {
  const place = document.querySelector("main");
  const drawn = Boolean(place.firstElementChild);
  const CARD = "metaembed-demo/card";

  const tell = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const say = (text) => {
    place.innerHTML = '<p class="state" role="status"></p>';
    place.firstElementChild.textContent = text;
  };

  function take(context) {
    if (context?.theme) document.documentElement.style.colorScheme = context.theme;
    for (const [name, value] of Object.entries(context?.styles?.variables ?? {})) {
      if (name.startsWith("--") && value) document.documentElement.style.setProperty(name, value);
    }
  }

  function draw(result) {
    const card = result?._meta?.[CARD];
    if (typeof card === "string") place.innerHTML = card;
    else say(result?.content?.find((each) => each.type === "text" && result.isError)?.text ?? "There is nothing to show.");
  }

  const heard = {
    "ui/notifications/host-context-changed": take,
    "ui/notifications/tool-result": (result) => drawn || draw(result),
    "ui/notifications/tool-cancelled": () => drawn || say("The call was cancelled."),
  };

  window.addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || data?.jsonrpc !== "2.0") return;
    if (data.method === undefined) {
      if (data.id !== 1 || !data.result) return;
      take(data.result.hostContext);
      tell({ method: "ui/notifications/initialized", params: {} });
      const size = () => tell({ method: "ui/notifications/size-changed", params: { height: Math.ceil(document.body.getBoundingClientRect().height) } });
      new ResizeObserver(size).observe(document.body);
    } else if (data.id !== undefined) {
      tell({ id: data.id, result: {} }); // a ping, or the end
    } else heard[data.method]?.(data.params);
  });

  // A frame without the right to open windows asks its host.
  place.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || window.parent === window) return;
    event.preventDefault();
    tell({ id: 2, method: "ui/open-link", params: { url: link.href } });
  });

  place.addEventListener("pointerover", (event) => {
    const word = event.target.closest("li[data-word]")?.dataset.word;
    for (const rect of place.querySelectorAll("rect")) rect.classList.toggle("here", rect.dataset.word === word);
  });

  if (!drawn) say("Waiting for the evidence…");
  if (window.parent !== window) {
    tell({
      id: 1,
      method: "ui/initialize",
      params: { protocolVersion: "2026-01-26", appInfo: { name: "metaembed-demo", version: "1" }, appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] } },
    });
  }
})();
