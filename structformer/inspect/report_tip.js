// What is known of a token and whom it listens to: a box beside it, and the same in words for screen readers.
class Tip {
  constructor(root, graph, view, edges) {
    Object.assign(this, { graph, view, edges });
    this.box = root.querySelector(".tip");
    this.told = root.querySelector(".hidden");
  }

  tell(node) {
    const { graph, edges, box } = this;
    box.hidden = node < 0;
    if (node < 0) { this.told.textContent = ""; return; }
    const fields = graph.fields[node < graph.targets ? 0 : 1];
    const known = graph.colours.map((colour) => this.pair(colour.name, this.value(colour, node)));
    const data = graph.data[node].map((value, place) => this.pair(fields[place], value));
    const into = edges.into(node);
    const listens = into.slice(0, 6).map((edge) => this.pair(graph.names[edges.step.source[edge]], weightText(edges.step.weight[edge])));
    const more = into.length - listens.length;
    box.replaceChildren(element("strong", graph.names[node]));
    box.classList.toggle("many", data.length > 5);
    if (known.length) box.append(this.group(known, "known"));
    if (data.length) box.append(this.group(data, "known data"));
    const brief = listens.every((row) => row.firstChild.textContent.length <= 12);
    if (listens.length) box.append(element("em", "listens to"), this.group(listens, brief ? "brief" : "long"));
    if (more) box.append(element("small", `and ${number(more)} more`));
    this.place(node, into);
    const said = (rows) => rows.map((row) => `${row.firstChild.textContent} ${row.lastChild.textContent}`).join(", ");
    const sentences = [graph.names[node], said([...known, ...data]), listens.length ? `Listens to ${said(listens)}` : ""];
    this.told.textContent = sentences.filter(Boolean).map((sentence) => `${sentence}.`).join(" ");
  }

  value(colouring, node) {
    const colour = ofStep(colouring, this.edges.at), value = colour.value[node];
    if (colour.chosen && colour.chosen[node]) {
      return colour.chosen[node].map((expert, rank) => `${expert} (${colour.share[node][rank]}%)`).join(", ");
    }
    if (value === null || value === -1) return "unknown";
    return colour.kind === "classes" ? colour.classes[value].name : number(value);
  }

  pair(left, right) {
    const row = element("div", undefined, "pair");
    row.append(element("span", left), element("span", right));
    return row;
  }

  group(rows, className) {
    const made = element("div", undefined, className);
    made.append(...rows);
    return made;
  }

  // Beside the token, on the side away from those it listens to. Narrow pages have it below the canvas.
  place(node, into) {
    const { view, box } = this;
    const x = view.xs[node], y = view.ys[node], gap = view.radius + 14, wide = box.offsetWidth, high = box.offsetHeight;
    const pull = into.reduce((sum, edge) => sum + view.xs[this.edges.step.source[edge]] - x, 0);
    const right = x + gap, left = x - gap - wide;
    let across = pull > 0 ? left : right;
    if (across < 4 || across + wide > view.width - 4) across = pull > 0 ? right : left;
    box.style.left = `${Math.max(4, Math.min(across, view.width - wide - 4))}px`;
    box.style.top = `${Math.max(4, Math.min(y - 20, view.height - high - 4))}px`;
  }
}
