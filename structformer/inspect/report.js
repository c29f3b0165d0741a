"use strict";

// Told apart by people with any of the common colour deficiencies, on light and on dark paper.
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8c6bb1", "#999933", "#8c510a", "#7f8a96"];
const SCALE = [[62, 73, 160], [38, 130, 142], [53, 183, 121], [180, 200, 50], [250, 200, 40]];

function scaleColour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1);
  const below = Math.min(Math.floor(place), SCALE.length - 2);
  const mixed = SCALE[below].map((low, i) => Math.round(low + (SCALE[below + 1][i] - low) * (place - below)));
  return `rgb(${mixed.join(",")})`;
}

function element(kind, text, className) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function number(value) {
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
}

function startGraph(root) {
  const graph = JSON.parse(root.querySelector("script").textContent);
  const canvas = root.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const tip = root.querySelector(".tip");
  const told = root.querySelector(".hidden");
  const legend = root.querySelector(".legend");
  const stepInput = root.querySelector(".step");
  const thresholdInput = root.querySelector(".threshold");
  const colourInput = root.querySelector(".colour");
  const count = graph.names.length;
  const ringed = new Set(graph.ringed);
  const state = { step: graph.steps.length - 1, drawn: 0, held: -1, only: null };
  let width = 0, height = 0, cell = 0, radius = 4, corners = [], xs = [], ys = [];

  // At first no more edges than a picture can bear.
  const last = Math.max(graph.steps[state.step].weight.length, 1);
  thresholdInput.value = Math.round(100 * (1 - Math.min(1, (3 * count) / last)));

  const edges = () => graph.steps[state.step];
  const colouring = () => graph.colours[colourInput ? Number(colourInput.value) : 0];

  function nodeColour(node, style) {
    const colour = colouring();
    if (!colour) return PALETTE[0];
    const value = colour.value[node];
    if (value === null || value === -1) return style.unknown;
    if (colour.kind === "classes") return PALETTE[value % PALETTE.length];
    return scaleColour((value - colour.low) / (colour.high - colour.low || 1));
  }

  function valueText(colour, node) {
    const value = colour.value[node];
    if (value === null || value === -1) return "unknown";
    return colour.kind === "classes" ? colour.classes[value].name : number(value);
  }

  function dimmed(node) {
    if (state.only === null) return false;
    return colouring().value[node] !== state.only;
  }

  function readControls() {
    if (stepInput) {
      state.step = Number(stepInput.value) - 1;
      stepInput.nextElementSibling.textContent = `step ${state.step + 1} of ${graph.steps.length}`;
    }
    const step = edges();
    state.drawn = Math.round(step.weight.length * (1 - Number(thresholdInput.value) / 100));
    const least = state.drawn ? number(step.weight[state.drawn - 1]) : "none";
    const text = `${number(state.drawn)} of ${number(step.total)} edges drawn`;
    thresholdInput.nextElementSibling.textContent = state.drawn ? `${least} and up: ${text}` : text;
    thresholdInput.setAttribute("aria-valuetext", thresholdInput.nextElementSibling.textContent);
  }

  function measure() {
    width = canvas.clientWidth;
    const sets = graph.captions.length;
    const across = sets ? Math.min(sets, Math.max(2, Math.floor(width / 230))) : 1;
    cell = Math.min(width / across, sets ? 420 : 680);
    height = sets ? cell * Math.ceil(sets / across) : Math.min(Math.max(width * (graph.stretch ? 0.6 : 1), 340), 640);
    const density = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    pen.setTransform(density, 0, 0, density, 0, 0);
    radius = Math.min(Math.max(0.16 * Math.sqrt((width * height) / Math.max(count, 1)), 2.5), 9);
    const margin = radius + 14;
    const left = (width - cell * across) / 2;
    corners = graph.captions.map((_, set) => [left + (set % across) * cell, Math.floor(set / across) * cell]);
    if (sets) {
      const side = cell - 2 * margin - 16;
      xs = graph.x.map((x, i) => corners[graph.cell[i]][0] + (cell - side) / 2 + x * side);
      ys = graph.y.map((y, i) => corners[graph.cell[i]][1] + margin + 16 + y * side);
    } else {
      // Places that mean something keep their proportions.
      const wide = (graph.stretch ? width : Math.min(width, height)) - 2 * margin;
      const high = (graph.stretch ? height : Math.min(width, height)) - 2 * margin;
      xs = graph.x.map((x) => (width - wide) / 2 + x * wide);
      ys = graph.y.map((y) => (height - high) / 2 + y * high);
    }
  }

  function line(edge) {
    const step = edges();
    pen.beginPath();
    pen.moveTo(xs[step.source[edge]], ys[step.source[edge]]);
    pen.lineTo(xs[step.target[edge]], ys[step.target[edge]]);
    pen.stroke();
  }

  function arrow(edge) {
    const step = edges(), from = step.source[edge], to = step.target[edge];
    const angle = Math.atan2(ys[to] - ys[from], xs[to] - xs[from]);
    const x = xs[to] - Math.cos(angle) * (radius + 1.5), y = ys[to] - Math.sin(angle) * (radius + 1.5);
    line(edge);
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x - 7 * Math.cos(angle - 0.4), y - 7 * Math.sin(angle - 0.4));
    pen.lineTo(x - 7 * Math.cos(angle + 0.4), y - 7 * Math.sin(angle + 0.4));
    pen.fill();
  }

  function disc(node, size) {
    pen.beginPath();
    if (node < graph.targets) pen.arc(xs[node], ys[node], size, 0, 2 * Math.PI);
    else pen.rect(xs[node] - size * 0.85, ys[node] - size * 0.85, size * 1.7, size * 1.7);
  }

  function drawNames(style) {
    if (count > 60) return;
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.lineWidth = 3;
    pen.strokeStyle = style.paper;
    pen.fillStyle = style.ink;
    const taken = xs.map((x, i) => [x - radius, ys[i] - radius, x + radius, ys[i] + radius]);
    const free = (box) => box[0] > 2 && box[2] < width - 2 && box[1] > 2 && box[3] < height - 2 &&
      taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
    for (let node = 0; node < count; node++) {
      const name = graph.names[node].length > 22 ? `${graph.names[node].slice(0, 21)}…` : graph.names[node];
      const long = pen.measureText(name).width, gap = radius + 5;
      const spots = [[gap, 0], [-gap - long, 0], [-long / 2, -gap - 7], [-long / 2, gap + 7]];
      const fits = spots.map(([dx, dy]) => [xs[node] + dx, ys[node] + dy])
        .find(([x, y]) => free([x, y - 7, x + long, y + 7]));
      if (!fits) continue;
      taken.push([fits[0], fits[1] - 7, fits[0] + long, fits[1] + 7]);
      pen.strokeText(name, fits[0], fits[1]);
      pen.fillText(name, fits[0], fits[1]);
    }
  }

  function draw() {
    const css = getComputedStyle(root);
    const style = {};
    for (const name of ["paper", "ink", "soft", "accent", "edge", "unknown"]) {
      style[name] = css.getPropertyValue(`--${name}`).trim();
    }
    const step = edges();
    pen.clearRect(0, 0, width, height);
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = style.soft;
    corners.forEach(([x, y], set) => pen.fillText(graph.captions[set], x + cell / 2, y + 8, cell - 8));
    pen.textAlign = "left";

    // Weak edges first, so that strong ones lie on top. More edges, fainter lines.
    const strongest = step.weight.length ? step.weight[0] : 1;
    const ground = Math.min(0.75, Math.max(0.3, 500 / Math.max(state.drawn, 1)));
    for (let edge = state.drawn - 1; edge >= 0; edge--) {
      const share = step.weight[edge] / strongest;
      const faint = state.held >= 0 || dimmed(step.target[edge]) ? 0.25 : 1;
      pen.strokeStyle = `rgba(${style.edge}, ${ground * faint * (0.2 + 0.8 * share)})`;
      pen.lineWidth = 0.5 + 1.6 * share;
      line(edge);
    }
    const heard = new Set();
    if (state.held >= 0) {
      pen.strokeStyle = pen.fillStyle = style.accent;
      for (let edge = 0; edge < step.weight.length; edge++) {
        if (step.target[edge] !== state.held) continue;
        heard.add(step.source[edge]);
        pen.lineWidth = 1 + 2 * (step.weight[edge] / strongest);
        arrow(edge);
      }
    }
    for (let node = 0; node < count; node++) {
      const away = state.held >= 0 && node !== state.held && !heard.has(node);
      pen.globalAlpha = away || dimmed(node) ? 0.3 : 1;
      disc(node, node === state.held ? radius + 2 : radius);
      pen.fillStyle = nodeColour(node, style);
      pen.fill();
      pen.lineWidth = 1;
      pen.strokeStyle = style.paper;
      pen.stroke();
      if (ringed.has(node) || node === state.held) {
        disc(node, radius + 2.5);
        pen.lineWidth = 1.6;
        pen.strokeStyle = style.ink;
        pen.stroke();
      }
    }
    pen.globalAlpha = 1;
    drawNames(style);
  }

  function pair(left, right, className) {
    const row = element("div", undefined, className);
    row.append(element("span", left), element("span", right));
    return row;
  }

  function tell() {
    const node = state.held;
    tip.hidden = node < 0;
    if (node < 0) { told.textContent = ""; return; }
    const step = edges();
    tip.replaceChildren(element("strong", graph.names[node]));
    for (const colour of graph.colours) tip.append(pair(colour.name, valueText(colour, node)));
    for (const [name, value] of graph.data[node]) tip.append(pair(name, value));
    const listens = [];
    for (let edge = 0; edge < step.weight.length && listens.length < 5; edge++) {
      if (step.target[edge] === node) listens.push([graph.names[step.source[edge]], number(step.weight[edge])]);
    }
    if (listens.length) tip.append(pair("listens to", "weight", "apart"));
    for (const [name, weight] of listens) tip.append(pair(name, weight));
    const right = xs[node] + radius + 12;
    const fits = right + tip.offsetWidth < width;
    const left = fits ? right : Math.max(4, xs[node] - radius - 12 - tip.offsetWidth);
    tip.style.left = `${Math.max(4, Math.min(left, width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(ys[node] - 20, height - tip.offsetHeight - 4))}px`;
    told.textContent = tip.innerText;
  }

  function hold(node) {
    if (node === state.held) return;
    state.held = node;
    draw();
    tell();
  }

  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = Math.max(radius + 6, 12) ** 2;
    for (let node = 0; node < count; node++) {
      const far = (xs[node] - x) ** 2 + (ys[node] - y) ** 2;
      if (far < least) { least = far; best = node; }
    }
    return best;
  }

  function showLegend() {
    const colour = colouring();
    legend.replaceChildren();
    legend.hidden = !colour;
    state.only = null;
    if (!colour) return;
    if (colour.kind === "scale") {
      const bar = element("span", undefined, "scale");
      bar.style.background = `linear-gradient(90deg, ${SCALE.map((stop) => `rgb(${stop.join(",")})`).join(",")})`;
      legend.append(element("span", number(colour.low)), bar, element("span", number(colour.high)));
      return;
    }
    colour.classes.forEach((kind, place) => {
      const button = element("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      const dot = element("i");
      dot.style.background = PALETTE[place % PALETTE.length];
      button.append(dot, element("span", kind.name), element("small", number(kind.count)));
      button.addEventListener("click", () => {
        state.only = state.only === place ? null : place;
        for (const other of legend.children) {
          other.setAttribute("aria-pressed", String(other === button && state.only !== null));
        }
        draw();
      });
      legend.append(button);
    });
  }

  function refresh() {
    readControls();
    draw();
    tell();
  }

  for (const input of [stepInput, thresholdInput]) if (input) input.addEventListener("input", refresh);
  if (colourInput) colourInput.addEventListener("change", () => { showLegend(); refresh(); });
  canvas.addEventListener("pointermove", (event) => hold(nearest(event)));
  canvas.addEventListener("pointerdown", (event) => hold(nearest(event)));
  canvas.addEventListener("pointerleave", () => hold(-1));
  canvas.addEventListener("blur", () => hold(-1));
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by && count) {
      hold(state.held < 0 ? (by > 0 ? 0 : count - 1) : (state.held + by + count) % count);
      event.preventDefault();
    } else if (event.key === "Escape") {
      hold(-1);
    }
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (canvas.clientWidth !== width) { measure(); refresh(); }
  })).observe(canvas);
  showLegend();
  measure();
  refresh();
}

function startHeatMap(root) {
  const names = JSON.parse(root.querySelector("script").textContent);
  const reading = root.closest("section").querySelector(".reading");
  const usual = reading.textContent;
  root.querySelector("svg").addEventListener("pointerover", (event) => {
    const cell = event.target.dataset && event.target.dataset.cell;
    if (!cell) { reading.textContent = usual; return; }
    const [row, column, weight] = cell.split(" ");
    reading.textContent = `${names[row]} listens to ${names[column]} with weight ${weight}.`;
  });
  root.querySelector("svg").addEventListener("pointerleave", () => { reading.textContent = usual; });
}

document.querySelectorAll(".graph").forEach(startGraph);
document.querySelectorAll(".columns > .wide").forEach(startHeatMap);
