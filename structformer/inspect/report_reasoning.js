// Two maps of slots by steps, of which one cell is held, and the tokens that its slot pooled and that read it.
function startMemory(root) {
  const memory = JSON.parse(root.querySelector("script").textContent);
  const grids = [...root.querySelectorAll(".slots")].map((table) => ({ table, kind: table.classList.contains("kept") ? "kept" : "read" }));
  const input = root.querySelector(".of"), reading = root.querySelector(".reading");
  let [step, slot] = memory.first;

  for (const grid of grids) {
    grid.cells = Array.from({ length: memory.slots }, (_, row) => Array.from({ length: memory.steps }, (_, column) => {
      const cell = element("td");
      cell.id = `${grid.table.dataset.id}-${row}-${column}`;
      cell.setAttribute("role", "gridcell");
      cell.addEventListener("click", () => hold(column, row));
      return cell;
    }));
    grid.table.querySelector("tbody").replaceChildren(...grid.cells.map((cells, row) => {
      const line = element("tr"), head = element("th", `slot ${row}`);
      head.scope = "row";
      line.append(head, ...cells);
      return line;
    }));
    grid.table.addEventListener("keydown", (event) => {
      const by = { ArrowRight: [1, 0], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowUp: [0, -1] }[event.key];
      if (!by) return;
      hold(Math.min(Math.max(step + by[0], 0), memory.steps - 1), Math.min(Math.max(slot + by[1], 0), memory.slots - 1));
      grid.cells[slot][step].scrollIntoView({ block: "nearest", inline: "nearest" });
      event.preventDefault();
    });
  }

  const percent = (value) => (value > 0 && value < 0.005 ? "<1%" : `${Math.round(100 * value)}%`);

  function hold(toStep, toSlot) {
    for (const { cells } of grids) cells[slot][step].classList.remove("held");
    [step, slot] = [toStep, toSlot];
    tell();
  }

  function tell() {
    const view = memory.views[input ? Number(input.value) : 0];
    for (const { table, kind, cells } of grids) {
      const values = view[kind], most = kind === "kept" ? 1 : Math.max(...values.flat(), 2 / memory.slots);
      cells.forEach((line, row) => line.forEach((cell, column) => {
        cell.textContent = percent(values[column][row]);
        cell.style.setProperty("--shade", values[column][row] / most);
        cell.setAttribute("aria-selected", String(row === slot && column === step));
      }));
      cells[slot][step].classList.add("held");
      table.setAttribute("aria-activedescendant", cells[slot][step].id);
    }
    const kept = view.kept[step][slot], read = percent(view.read[step][slot]);
    const wrote = kept > 0.995 ? "nothing new entered it" : `${percent(1 - kept)} of what it pooled entered`;
    reading.textContent = `Slot ${slot} in step ${step + 1}: the ${root.dataset.token}s gave it ${read} of their reading ` +
      `(even is ${percent(1 / memory.slots)}); then its gate kept ${percent(kept)} of what was there, ${wrote}.`;
    list(".pooled", view.pooled[step][slot]);
    list(".readers", view.readers[step][slot]);
  }

  function list(where, pairs) {
    const most = Math.max(...pairs.map(([, weight]) => weight), 1e-9);
    const none = element("li", "Choose one of the sets to see its tokens.", "none");
    root.querySelector(where).replaceChildren(...(pairs.length ? pairs.map(([name, weight]) => {
      const row = element("li"), bar = element("span", undefined, "bar"), part = element("span");
      part.style.width = `${(100 * weight) / most}%`;
      bar.append(part);
      bar.setAttribute("aria-hidden", "true");
      row.append(element("span", memory.names[name]), bar, element("span", weightText(weight)));
      return row;
    }) : [none]));
  }

  if (input) input.addEventListener("change", tell);
  tell();
}
