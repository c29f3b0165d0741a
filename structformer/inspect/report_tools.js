"use strict";

const SCALE = [[62, 73, 160], [38, 130, 142], [53, 183, 121], [180, 200, 50], [250, 200, 40]];
const MOST_ROWS = 100;

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

// A weight as short as it can be read.
function weightText(value) {
  if (value >= 1) return number(value);
  return value < 0.0005 ? "<0.001" : value.toFixed(3);
}

// The edges of the step chosen, and how many of them the smallest strength chosen leaves; the strongest come first.
// They are as strong as they speak for the prediction, or as they weigh, where both are known.
class Edges {
  constructor(root, { steps, listened }, most) {
    this.kinds = listened ? { support: steps, weight: listened } : { weight: steps };
    this.most = most;
    this.byInput = root.querySelector(".by");
    this.stepInput = root.querySelector(".step");
    this.thresholdInput = root.querySelector(".threshold");
    this.table = root.querySelector(".edges");
    this.begin();
  }

  // At first no more edges than a picture can bear.
  begin() {
    const kind = this.byInput ? this.byInput.value : "weight";
    this.steps = this.kinds[kind];
    this.table.querySelector("th.number").textContent = kind;
    // The slider's places are spread over the strengths of all steps, more of them where these are large.
    this.pool = this.steps.flatMap((step) => step.weight).sort((a, b) => b - a);
    let place = 0;
    this.thresholdInput.value = place;
    this.read();
    while (place < 99 && this.drawn > this.most) {
      place += 1;
      this.thresholdInput.value = place;
      this.read();
    }
  }

  listen(changed) {
    const reread = () => { this.read(); changed(); };
    for (const input of [this.stepInput, this.thresholdInput]) if (input) input.addEventListener("input", reread);
    if (this.byInput) this.byInput.addEventListener("change", () => { this.begin(); changed(); });
    this.table.addEventListener("toggle", changed);
  }

  read() {
    const at = this.stepInput ? Number(this.stepInput.value) - 1 : 0;
    const kept = Math.ceil(this.pool.length * (1 - Number(this.thresholdInput.value) / 100) ** 2);
    const least = kept ? this.pool[kept - 1] : Infinity;
    this.at = at;
    this.step = this.steps[at];
    this.drawn = this.step.weight.findIndex((weight) => weight < least);
    if (this.drawn < 0) this.drawn = this.step.weight.length;
    const total = number(this.step.total);
    const counted = this.drawn === this.step.total ? `all ${total} edges` : `${number(this.drawn)} of ${total} edges`;
    this.tell(this.thresholdInput, Number.isFinite(least) ? `${number(least)} · ${counted}` : counted);
    if (this.stepInput) this.tell(this.stepInput, `step ${at + 1} of ${this.steps.length}`);
  }

  tell(input, text) {
    input.nextElementSibling.textContent = text;
    input.setAttribute("aria-valuetext", text);
  }

  // The places of the edges into a token, the strongest first.
  into(token) {
    const places = [];
    this.step.target.forEach((target, edge) => { if (target === token) places.push(edge); });
    return places;
  }

  fillTable(names) {
    if (!this.table.open) return;
    const shown = Math.min(this.drawn, MOST_ROWS);
    this.table.querySelector("p").textContent =
      shown < this.drawn ? `The ${shown} strongest of ${number(this.drawn)}.` : `${number(shown)} edges.`;
    this.table.querySelector("tbody").replaceChildren(...Array.from({ length: shown }, (_, edge) => {
      const row = element("tr");
      row.append(element("td", names[this.step.target[edge]]), element("td", names[this.step.source[edge]]),
        element("td", weightText(this.step.weight[edge]), "number"));
      return row;
    }));
  }
}
