function startColumns(root) {
  const names = JSON.parse(root.querySelector("script").textContent);
  const map = root.querySelector("svg");
  const reading = root.querySelector(".reading");
  const usual = reading.textContent;
  const cells = [...map.querySelectorAll("rect")], across = Math.round(Math.sqrt(cells.length));
  let held = -1;

  function hold(place) {
    if (held >= 0) cells[held].classList.remove("held");
    held = place;
    if (place < 0) { reading.textContent = usual; return; }
    const [row, column, weight] = cells[place].dataset.cell.split(" ");
    cells[place].classList.add("held");
    if (document.activeElement === map) cells[place].scrollIntoView({ block: "nearest", inline: "nearest" });
    reading.textContent = `${names[row]} listens to ${names[column]} with weight ${weight}.`;
  }

  map.addEventListener("pointerover", (event) => hold(cells.indexOf(event.target)));
  map.addEventListener("pointerleave", () => hold(-1));
  map.addEventListener("blur", () => hold(-1));
  map.addEventListener("keydown", (event) => {
    const by = { ArrowRight: [0, 1], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowUp: [-1, 0] }[event.key];
    if (by) {
      const row = Math.floor(held / across) + by[0], column = (held % across) + by[1];
      if (held < 0) hold(0);
      else if (row >= 0 && row < across && column >= 0 && column < across) hold(row * across + column);
      event.preventDefault();
    } else if (event.key === "Escape") {
      hold(-1);
    }
  });
}
