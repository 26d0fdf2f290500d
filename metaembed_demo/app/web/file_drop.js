// A drop area that also opens a file dialog. Uploads the files, then sends their paths and names.
const box = () => element.querySelector(".drop");
const one = () => !element.querySelector("input").multiple;
const say = (words) => { element.querySelector(".drop-words").textContent = words; };
const rest = () => say(box().dataset.rest);
let shown = null; // the object URL of the picture shown

function preview(file) {
  forget();
  shown = URL.createObjectURL(file);
  const picture = element.querySelector("img");
  picture.onerror = () => { picture.hidden = true; };
  picture.src = shown;
  picture.alt = file.name;
  picture.hidden = false;
  box().classList.add("full");
}

function forget() {
  if (shown) URL.revokeObjectURL(shown);
  shown = null;
}

function empty() {
  forget();
  const picture = element.querySelector("img");
  if (picture) picture.hidden = true;
  box().classList.remove("full", "bad");
  rest();
}

// The server's message from Gradio's error text: HTTP 429: {"detail":"…"}
function reason(error) {
  try {
    const { detail } = JSON.parse(String(error?.message ?? error).replace(/^[^{]*/, ""));
    return typeof detail === "string" ? detail : null;
  } catch {
    return null;
  }
}

async function take(files) {
  if (!files.length) return;
  if (one()) files = files.slice(0, 1);
  box().classList.remove("bad");
  box().setAttribute("aria-busy", "true");
  const sent = [];
  try {
    for (const [at, file] of files.entries()) {
      say(files.length > 1 ? `Uploading ${at + 1} of ${files.length}` : "Uploading…");
      const { path } = await upload(file);
      sent.push({ path, name: file.name });
    }
    rest();
    if (one()) { preview(files[0]); say(files[0].name); }
  } catch (error) {
    box().classList.add("bad");
    say(reason(error) ?? "The upload failed. Is the file too large?");
  }
  box().removeAttribute("aria-busy");
  if (sent.length) trigger("upload", { files: sent });
}

element.addEventListener("change", (event) => {
  if (event.target.type !== "file") return;
  const files = [...event.target.files];
  event.target.value = ""; // so that the same file can be chosen again
  take(files);
});
for (const name of ["dragenter", "dragover"])
  element.addEventListener(name, (event) => { event.preventDefault(); box().classList.add("over"); });
for (const name of ["dragleave", "drop"])
  element.addEventListener(name, (event) => { event.preventDefault(); box().classList.remove("over"); });
element.addEventListener("drop", (event) => take([...event.dataTransfer.files]));
element.addEventListener("click", (event) => {
  if (!event.target.closest(".drop-clear")) return;
  empty();
  trigger("clear");
});
if (one())
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (files.length && box().checkVisibility()) take(files);
  });
watch("value", () => { if (!box().classList.contains("full")) forget(); });
