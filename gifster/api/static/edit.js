// The editor of a GIF: draw the box to keep on the original, and take start and end from the player. The fields of the
// form stay the truth, so everything can be typed as well.

const SHOWN = ["image/gif", "image/png", "image/jpeg", "image/webp", "image/avif"];

// The page of a GIF gets a new main part when its state changes.
new MutationObserver(enhanceAll).observe(document.body, { childList: true, subtree: true });
enhanceAll();

function enhanceAll() {
  document.querySelectorAll("form.editor[data-url]:not([data-enhanced])").forEach(enhance);
}

function enhance(form) {
  form.dataset.enhanced = "";
  const { url, type, width, height, duration, start } = form.dataset;
  const film = type.startsWith("video/");
  if (!film && !SHOWN.includes(type)) return; // no browser is sure to show it
  const size = { width: Number(width), height: Number(height) };
  const picture = make(film ? "video" : "img", film ? { muted: true, playsInline: true, preload: "metadata" } : { alt: "", loading: "lazy" });
  picture.src = url;
  const stage = make("div", { className: "stage" });
  stage.append(picture);
  form.prepend(stage, make("p", { className: "hint", textContent: "Draw a box on the picture to crop it. Arrow keys move the box, with Shift they change its size, Escape removes it." }));
  // Only an original that is a film has a moment of its own; of others there is the film on the page, which begins later
  // if the present edit does.
  const player = film ? picture : document.querySelector(".whole video");
  if (Number(duration) > 0 && player) form.insertBefore(moments(form, player, film ? 0 : Number(start), Number(duration), film), form.querySelector(".edit-fields"));
  cropping(form, stage, size);
}

/** A slider for the moment of a film, and buttons that take it as start or end. */
function moments(form, player, begins, duration, own) {
  const row = make("div", { className: "moment" });
  const now = () => Math.min(duration, begins + player.currentTime);
  const told = make("output", { textContent: "0.00 s" });
  if (own) {
    const slider = make("input", { type: "range", min: 0, max: duration, step: 0.01, value: 0 });
    slider.setAttribute("aria-label", "Moment (seconds)");
    slider.addEventListener("input", () => { player.currentTime = Number(slider.value); });
    player.addEventListener("timeupdate", () => { slider.value = player.currentTime; });
    row.append(slider);
  }
  player.addEventListener("timeupdate", () => { told.textContent = `${now().toFixed(2)} s`; });
  row.append(told);
  for (const [name, text] of [["start", "Start here"], ["end", "End here"]]) {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", () => {
      form.elements[name].value = now().toFixed(2);
      say(`${name} ${form.elements[name].value} seconds`);
    });
    row.append(button);
  }
  return row;
}

/** A box on the picture, which follows the field `crop`, and the other way round. */
function cropping(form, stage, size) {
  const field = form.elements.crop;
  const box = make("div", { className: "box", tabIndex: 0, hidden: true });
  box.setAttribute("role", "application");
  box.setAttribute("aria-roledescription", "crop box");
  box.append(make("span", { className: "corner" }));
  stage.append(box);
  // So that a keyboard can begin a box, too.
  const begin = make("button", { type: "button", className: "plain", textContent: "Add a box" });
  begin.addEventListener("click", () => {
    put(inner(size.width * 0.1, size.height * 0.1, size.width * 0.8, size.height * 0.8));
    box.focus();
  });
  stage.after(begin);

  const read = () => {
    const numbers = field.value.split(",").map((text) => Number.parseInt(text, 10));
    return numbers.length === 4 && numbers.every(Number.isFinite) ? inner(...numbers) : null;
  };
  const inner = (x, y, wide, high) => {
    const kept = { width: clamp(Math.round(wide), 1, size.width), height: clamp(Math.round(high), 1, size.height) };
    return { x: clamp(Math.round(x), 0, size.width - kept.width), y: clamp(Math.round(y), 0, size.height - kept.height), ...kept };
  };
  const show = (crop) => {
    box.hidden = !crop;
    begin.hidden = Boolean(crop);
    if (!crop) return;
    box.style.left = `${(crop.x / size.width) * 100}%`;
    box.style.top = `${(crop.y / size.height) * 100}%`;
    box.style.width = `${(crop.width / size.width) * 100}%`;
    box.style.height = `${(crop.height / size.height) * 100}%`;
    box.setAttribute("aria-label", `Crop: ${crop.width} by ${crop.height} pixels at ${crop.x}, ${crop.y}`);
  };
  const put = (crop) => {
    field.value = crop ? `${crop.x},${crop.y},${crop.width},${crop.height}` : "";
    show(crop);
  };

  field.addEventListener("input", () => show(read()));
  box.addEventListener("keydown", (event) => {
    const crop = read();
    if (!crop) return;
    const step = event.altKey ? 1 : Math.max(1, Math.round(size.width / 100));
    const [right, down] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (event.key === "Escape") {
      put(null);
      begin.focus();
      say("The box is gone");
    } else if (right || down) {
      if (event.shiftKey) put(inner(crop.x, crop.y, Math.min(crop.width + right, size.width - crop.x), Math.min(crop.height + down, size.height - crop.y)));
      else put(inner(crop.x + right, crop.y + down, crop.width, crop.height));
      say(box.getAttribute("aria-label"));
    } else return;
    event.preventDefault();
  });

  let drag = null;
  const at = (event) => {
    const { left, top, width, height } = stage.getBoundingClientRect();
    return { x: clamp(((event.clientX - left) / width) * size.width, 0, size.width), y: clamp(((event.clientY - top) / height) * size.height, 0, size.height) };
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const crop = read(), from = at(event);
    if (event.target.matches(".corner")) drag = { from: { x: crop.x, y: crop.y } };
    else if (event.target === box) drag = { moves: crop, from };
    else drag = { from };
    stage.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const to = at(event), { from, moves } = drag;
    if (moves) put(inner(moves.x + to.x - from.x, moves.y + to.y - from.y, moves.width, moves.height));
    else if (Math.abs(to.x - from.x) >= 1 && Math.abs(to.y - from.y) >= 1) {
      put(inner(Math.min(from.x, to.x), Math.min(from.y, to.y), Math.abs(to.x - from.x), Math.abs(to.y - from.y)));
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, () => {
      if (drag && !box.hidden) box.focus({ preventScroll: true });
      drag = null;
    });
  }
  show(read());
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

function clamp(value, least, most) {
  return Math.max(least, Math.min(most, value));
}

/** Tell it to people who do not see it. */
function say(text) {
  const told = document.getElementById("told");
  if (told) told.textContent = text;
}
