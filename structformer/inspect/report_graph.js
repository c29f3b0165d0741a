function startGraph(root) {
  const graph = JSON.parse(root.querySelector("script").textContent);
  const canvas = root.querySelector("canvas");
  const colourInput = root.querySelector(".colour");
  const findInput = root.querySelector(".find");
  const view = new View(canvas, graph);
  const edges = new Edges(root, graph, Math.min(3 * view.count, 2500));
  const tip = new Tip(root, graph, view, edges);
  const ringed = new Set(graph.ringed);
  const lower = graph.names.map((name) => name.toLowerCase());
  // Held is the token that is told about, found the one that the search holds, only the class that is not dimmed.
  const state = { held: -1, found: -1, only: null, dragged: null };

  const chosen = () => graph.colours[colourInput ? Number(colourInput.value) : 0];
  const colouring = () => ofStep(chosen(), edges.at);

  function nodeColour(node, style, colour) {
    if (!colour) return style.classes[0];
    const value = colour.value[node];
    if (value === null || value === -1) return style.unknown;
    if (colour.kind === "classes") return style.classes[value % style.classes.length];
    return scaleColour((value - colour.low) / (colour.high - colour.low || 1));
  }

  function styles() {
    const css = getComputedStyle(root), style = {};
    for (const name of ["paper", "ink", "soft", "accent", "edge", "unknown"]) {
      style[name] = css.getPropertyValue(`--${name}`).trim();
    }
    style.classes = Array.from({ length: 10 }, (_, place) => css.getPropertyValue(`--class-${place}`).trim());
    return style;
  }

  function draw() {
    const { pen, radius } = view, { step, drawn } = edges, style = styles(), colour = colouring();
    const dimmed = (node) => state.only !== null && colour.value[node] !== state.only;
    view.clear(style);
    // Weak edges first, so that strong ones lie on top. More edges, fainter lines.
    const strongest = step.weight.length ? step.weight[0] : 1;
    const ground = Math.min(0.75, Math.max(0.3, 500 / Math.max(drawn, 1)));
    for (let edge = drawn - 1; edge >= 0; edge--) {
      const share = step.weight[edge] / strongest;
      const faint = state.held >= 0 || dimmed(step.target[edge]) ? 0.25 : 1;
      pen.strokeStyle = `rgba(${style.edge}, ${ground * faint * (0.2 + 0.8 * share)})`;
      pen.lineWidth = 0.5 + 1.6 * share;
      view.line(step.source[edge], step.target[edge]);
    }
    const heard = new Set();
    if (state.held >= 0) {
      pen.strokeStyle = pen.fillStyle = style.accent;
      for (const edge of edges.into(state.held)) {
        heard.add(step.source[edge]);
        pen.lineWidth = 1 + 2 * (step.weight[edge] / strongest);
        view.arrow(step.source[edge], state.held);
      }
    }
    for (let node = 0; node < view.count; node++) {
      const away = state.held >= 0 && node !== state.held && !heard.has(node);
      pen.globalAlpha = away || dimmed(node) ? 0.3 : 1;
      view.shape(node, node === state.held ? radius + 2 : radius);
      pen.fillStyle = nodeColour(node, style, colour);
      pen.fill();
      pen.lineWidth = radius > 3 ? 1 : 0.5;
      pen.strokeStyle = style.paper;
      pen.stroke();
      if (ringed.has(node) || node === state.held) {
        view.shape(node, radius + Math.min(2.5, 0.5 * radius));
        pen.lineWidth = radius > 3.5 ? 1.6 : 1;
        pen.strokeStyle = style.ink;
        pen.stroke();
      }
    }
    pen.globalAlpha = 1;
    view.names(style);
  }

  function refresh() {
    draw();
    tip.tell(state.held);
    edges.fillTable(graph.names);
  }

  function hold(node) {
    if (node === state.held) return;
    state.held = node;
    draw();
    tip.tell(state.held);
  }

  function find(next) {
    const text = findInput.value.trim().toLowerCase();
    const matches = [];
    if (text) lower.forEach((name, node) => { if (name.includes(text)) matches.push(node); });
    // The name itself comes before names that hold it.
    matches.sort((a, b) => (lower[b] === text) - (lower[a] === text));
    const at = next ? (matches.indexOf(state.found) + 1) % Math.max(matches.length, 1) : 0;
    state.found = matches.length ? matches[at] : -1;
    const output = findInput.nextElementSibling;
    output.textContent = !text ? "" : !matches.length ? "none" : `${at + 1} of ${number(matches.length)}; Enter for the next`;
    if (state.found >= 0) view.reveal(state.found);
    state.held = state.found;
    refresh();
  }

  function showLegend(only = null) {
    state.only = only;
    fillLegend(root.querySelector(".legend"), colouring(), (kept) => { state.only = kept; draw(); }, only);
  }

  function zoom(factor, x, y) {
    if (factor) view.magnify(factor, x, y);
    else view.measure();
    refresh();
  }

  function pressed(event) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, "0": 0 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (by && view.count) {
      const from = state.held < 0 ? (by > 0 ? -1 : 0) : state.held;
      view.reveal((from + by + view.count) % view.count);
      hold((from + by + view.count) % view.count);
    } else if (factor !== undefined) {
      zoom(factor);
    } else if (event.key === "Escape") {
      hold(-1);
    } else {
      return;
    }
    event.preventDefault();
  }

  function pointed(event) {
    const { dragged } = state;
    if (dragged && view.zoom > 1) {
      view.move(event.clientX - dragged[0], event.clientY - dragged[1]);
      state.dragged = [event.clientX, event.clientY];
      refresh();
      return;
    }
    const box = canvas.getBoundingClientRect();
    const node = view.nearest(event.clientX - box.left, event.clientY - box.top);
    hold(node >= 0 ? node : state.found);
  }

  let at = edges.at;
  edges.listen(() => {
    if (edges.at !== at && chosen() && chosen().steps) showLegend(state.only);
    at = edges.at;
    refresh();
  });
  if (colourInput) colourInput.addEventListener("change", () => { showLegend(); refresh(); });
  if (findInput) {
    findInput.addEventListener("input", () => find(false));
    findInput.addEventListener("keydown", (event) => { if (event.key === "Enter") find(true); });
  }
  canvas.addEventListener("pointermove", pointed);
  canvas.addEventListener("pointerdown", (event) => {
    pointed(event);
    if (view.zoom > 1) { state.dragged = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); }
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { state.dragged = null; });
  canvas.addEventListener("pointerleave", () => hold(state.found));
  canvas.addEventListener("blur", () => hold(state.found));
  canvas.addEventListener("keydown", pressed);
  canvas.addEventListener("wheel", (event) => {
    // A wheel alone scrolls the page.
    if (!event.ctrlKey && !event.metaKey) return;
    const box = canvas.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 200), event.clientX - box.left, event.clientY - box.top);
    event.preventDefault();
  }, { passive: false });
  for (const [name, factor] of [["in", 1.5], ["out", 1 / 1.5], ["all", 0]]) {
    root.querySelector(`.zoom .${name}`).addEventListener("click", () => zoom(factor));
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (canvas.clientWidth !== view.width) { view.measure(); refresh(); }
  })).observe(canvas);
  showLegend();
  view.measure();
  refresh();
}
