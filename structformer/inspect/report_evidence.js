function startEvidence(root) {
  const data = root.querySelector("script");
  if (!data) return;
  const graph = JSON.parse(data.textContent);
  const story = root.querySelector(".story");
  const arcs = root.querySelector(".arcs");
  const rows = [...root.querySelectorAll("li")];
  const reading = root.querySelector(".reading");
  const usual = reading.textContent;
  const names = rows.map((row) => `${row.querySelector(".place").textContent} ${row.querySelector(".said").firstChild.textContent}`);
  const short = (place) => (rows[place].classList.contains("asks") ? "the question" : `sentence ${place + 1}`);
  // At first no more arcs than can be followed.
  const edges = new Edges(root, graph, 2 * rows.length);
  let held = -1, middles = [];

  function measure() {
    const top = story.getBoundingClientRect().top;
    middles = rows.map((row) => {
      const box = row.querySelector(".said").getClientRects()[0] || row.getBoundingClientRect();
      return box.top - top + Math.min(box.height / 2, 12);
    });
    const box = story.getBoundingClientRect();
    const width = parseFloat(getComputedStyle(story).getPropertyValue("padding-left"));
    arcs.setAttribute("width", width);
    arcs.setAttribute("height", box.height);
    return [width, box.height];
  }

  function arc(edge, width, height, strongest) {
    const from = middles[edges.step.target[edge]], to = middles[edges.step.source[edge]];
    const share = edges.step.weight[edge] / strongest;
    const x = width - 4, out = Math.max(4, x - 6) * (0.18 + 0.82 * Math.sqrt(Math.abs(to - from) / height));
    const made = document.createElementNS(arcs.namespaceURI, "path");
    // The farthest a curve goes is three quarters of the way to its control points.
    const bend = x - (4 / 3) * out;
    made.setAttribute("d", `M${x} ${from}C${bend} ${from} ${bend} ${to} ${x} ${to}`);
    made.style.setProperty("--share", share.toFixed(3));
    made.setAttribute("class", edges.step.target[edge] === held ? "own" : "");
    return made;
  }

  function draw() {
    const [width, height] = measure(), { step } = edges;
    const own = held < 0 ? [] : edges.into(held);
    const shown = new Set([...Array(edges.drawn).keys(), ...own]);
    const strongest = step.weight.length ? step.weight[0] : 1;
    // Weak arcs first, and those of the sentence pointed at last, so that they lie on top.
    const order = [...shown].sort((a, b) => (step.target[a] === held) - (step.target[b] === held) || b - a);
    arcs.replaceChildren(...order.map((edge) => arc(edge, width, height, strongest)));
    // The more arcs, the fainter.
    arcs.style.setProperty("--ground", Math.max(0.35, Math.min(1, 40 / Math.max(edges.drawn, 1))).toFixed(2));
    root.classList.toggle("holding", held >= 0);
    rows.forEach((row, place) => {
      row.classList.toggle("held", place === held);
      row.classList.remove("listened");
      row.querySelector(".heard").textContent = "";
    });
    for (const edge of own) {
      const row = rows[step.source[edge]];
      row.classList.add("listened");
      row.querySelector(".heard").textContent = weightText(step.weight[edge]);
    }
    const listens = own.slice(0, 6).map((edge) => `${short(step.source[edge])} (${weightText(step.weight[edge])})`);
    const who = held < 0 ? "" : short(held).replace(/^./, (letter) => letter.toUpperCase());
    reading.textContent = held < 0 ? usual : `${who} listens to ${listens.join(", ") || "no other"}.`;
  }

  function refresh() {
    draw();
    edges.fillTable(names);
  }

  function hold(place) {
    if (place === held) return;
    held = place;
    draw();
  }

  rows.forEach((row, place) => {
    row.addEventListener("pointerenter", () => hold(place));
    row.addEventListener("focus", () => hold(place));
    row.addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const next = { Home: 0, End: rows.length - 1 }[event.key] ?? place + by;
      if (event.key === "Escape") hold(-1);
      else if (!rows[next]) return;
      else {
        row.tabIndex = -1;
        rows[next].tabIndex = 0;
        rows[next].focus();
      }
      event.preventDefault();
    });
    row.addEventListener("blur", () => hold(-1));
  });
  story.addEventListener("pointerleave", () => hold(rows.indexOf(document.activeElement)));
  edges.listen(refresh);
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(story);
  refresh();
}
