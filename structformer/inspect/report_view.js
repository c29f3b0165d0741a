// Where tokens lie on a canvas, moved and magnified as the reader likes, and how they are drawn.
class View {
  constructor(canvas, graph) {
    this.canvas = canvas;
    this.graph = graph;
    this.pen = canvas.getContext("2d");
    this.count = graph.names.length;
    this.zoom = 1;
    this.middle = [0, 0];
  }

  measure() {
    const { graph, canvas, count } = this, sets = graph.captions.length, width = canvas.clientWidth;
    const across = sets ? Math.min(sets, Math.max(2, Math.floor(width / 230))) : 1;
    const cell = Math.min(width / across, sets ? 420 : 680);
    const height = sets ? cell * Math.ceil(sets / across) : Math.min(Math.max(width * (graph.stretch ? 0.6 : 1), 380), 640);
    const density = window.devicePixelRatio || 1;
    Object.assign(this, { width, height, cell });
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    this.pen.setTransform(density, 0, 0, density, 0, 0);
    this.size = Math.min(Math.max(0.16 * Math.sqrt((width * height) / Math.max(count, 1)), 2.2), 9);
    const margin = this.size + 14;
    const left = (width - cell * across) / 2;
    this.cells = graph.captions.map((_, set) => [left + (set % across) * cell, Math.floor(set / across) * cell]);
    if (sets) {
      const side = cell - 2 * margin - 16;
      this.baseX = graph.x.map((x, i) => this.cells[graph.cell[i]][0] + (cell - side) / 2 + x * side);
      this.baseY = graph.y.map((y, i) => this.cells[graph.cell[i]][1] + margin + 16 + y * side);
    } else {
      // Places that mean something keep their proportions.
      const wide = (graph.stretch ? width : Math.min(width, height)) - 2 * margin;
      const high = (graph.stretch ? height : Math.min(width, height)) - 2 * margin;
      this.baseX = graph.x.map((x) => (width - wide) / 2 + x * wide);
      this.baseY = graph.y.map((y) => (height - high) / 2 + y * high);
    }
    this.middle = [width / 2, height / 2];
    this.zoom = 1;
    this.place();
  }

  place() {
    const { width, height, zoom } = this;
    // What is magnified fills the canvas: its middle stays so far from the borders.
    this.middle = this.middle.map((at, axis) => {
      const half = (axis ? height : width) / 2;
      return Math.min(Math.max(at, half / zoom), 2 * half - half / zoom);
    });
    const [x, y] = this.middle;
    this.xs = this.baseX.map((at) => (at - x) * zoom + width / 2);
    this.ys = this.baseY.map((at) => (at - y) * zoom + height / 2);
    this.corners = this.cells.map(([left, top]) => [(left - x) * zoom + width / 2, (top - y) * zoom + height / 2]);
    this.radius = Math.min(this.size * Math.sqrt(zoom), Math.max(this.size, 9));
    this.canvas.style.touchAction = zoom > 1 ? "none" : "pan-y";
  }

  // Magnify by a factor, what lies at (x, y) staying there.
  magnify(factor, x = this.width / 2, y = this.height / 2) {
    const zoom = Math.min(Math.max(this.zoom * factor, 1), 12), by = 1 / this.zoom - 1 / zoom;
    this.middle = [this.middle[0] + (x - this.width / 2) * by, this.middle[1] + (y - this.height / 2) * by];
    this.zoom = zoom;
    this.place();
  }

  move(x, y) {
    this.middle = [this.middle[0] - x / this.zoom, this.middle[1] - y / this.zoom];
    this.place();
  }

  // Move so that a token can be seen.
  reveal(node) {
    const inside = this.xs[node] > 20 && this.xs[node] < this.width - 20 && this.ys[node] > 20 && this.ys[node] < this.height - 20;
    if (!inside) { this.middle = [this.baseX[node], this.baseY[node]]; this.place(); }
  }

  nearest(x, y) {
    let best = -1, least = Math.max(this.radius + 6, 12) ** 2;
    for (let node = 0; node < this.count; node++) {
      const far = (this.xs[node] - x) ** 2 + (this.ys[node] - y) ** 2;
      if (far < least) { least = far; best = node; }
    }
    return best;
  }

  clear(style) {
    const { pen, graph, cell, zoom } = this;
    pen.clearRect(0, 0, this.width, this.height);
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = style.soft;
    this.corners.forEach(([x, y], set) => {
      pen.fillText(this.cut(graph.captions[set], cell * zoom - 24), x + (cell * zoom) / 2, y + 8);
    });
    pen.textAlign = "left";
  }

  // A text, of which the end is left out if it is too long.
  cut(text, most) {
    let kept = text;
    for (let end = text.length - 1; end > 0 && this.pen.measureText(kept).width > most; end--) {
      kept = `${text.slice(0, end).trimEnd()}…`;
    }
    return kept;
  }

  line(from, to) {
    this.pen.beginPath();
    this.pen.moveTo(this.xs[from], this.ys[from]);
    this.pen.lineTo(this.xs[to], this.ys[to]);
    this.pen.stroke();
  }

  arrow(from, to) {
    const { pen, xs, ys, radius } = this;
    const angle = Math.atan2(ys[to] - ys[from], xs[to] - xs[from]);
    const x = xs[to] - Math.cos(angle) * (radius + 1.5), y = ys[to] - Math.sin(angle) * (radius + 1.5);
    this.line(from, to);
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x - 7 * Math.cos(angle - 0.4), y - 7 * Math.sin(angle - 0.4));
    pen.lineTo(x - 7 * Math.cos(angle + 0.4), y - 7 * Math.sin(angle + 0.4));
    pen.fill();
  }

  // A disc for a token that listens, a square for one that is only listened to.
  shape(node, size) {
    this.pen.beginPath();
    if (node < this.graph.targets) this.pen.arc(this.xs[node], this.ys[node], size, 0, 2 * Math.PI);
    else this.pen.rect(this.xs[node] - size * 0.85, this.ys[node] - size * 0.85, size * 1.7, size * 1.7);
  }

  // Names wherever there is room for them, if no more than 60 tokens are in sight.
  names(style) {
    const { pen, graph, xs, ys, radius, width, height } = this;
    const seen = [];
    for (let node = 0; node < this.count && seen.length <= 60; node++) {
      if (xs[node] > 0 && xs[node] < width && ys[node] > 0 && ys[node] < height) seen.push(node);
    }
    if (seen.length > 60) return;
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeStyle = style.paper;
    pen.fillStyle = style.ink;
    const taken = seen.map((node) => [xs[node] - radius, ys[node] - radius, xs[node] + radius, ys[node] + radius]);
    const free = (box) => box[0] > 2 && box[2] < width - 2 && box[1] > 2 && box[3] < height - 2 &&
      taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
    for (const node of seen) {
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
}
