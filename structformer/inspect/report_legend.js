// A colouring as it is in a step, for some are another in every step.
function ofStep(colour, step) {
  return colour && colour.steps ? { ...colour, ...colour.steps[step] } : colour;
}

// The classes of a colouring, each a button that leaves it alone undimmed, or the scale; and what is not known.
function fillLegend(legend, colour, chosen, held = null) {
  legend.replaceChildren();
  legend.hidden = !colour;
  if (!colour) return;
  if (colour.kind === "scale") {
    const bar = element("span", undefined, "scale");
    bar.style.background = `linear-gradient(90deg, ${SCALE.map((stop) => `rgb(${stop.join(",")})`).join(",")})`;
    legend.append(element("span", number(colour.low)), bar, element("span", number(colour.high)));
  } else {
    colour.classes.forEach((kind, place) => {
      const button = legendButton(kind, place, place === held);
      button.addEventListener("click", () => {
        const only = button.getAttribute("aria-pressed") !== "true";
        for (const other of legend.querySelectorAll("button")) other.setAttribute("aria-pressed", String(only && other === button));
        chosen(only ? place : null);
      });
      legend.append(button);
    });
  }
  if (colour.value.some((value) => value === null || value === -1)) {
    const unknown = element("span", undefined, "unknown");
    unknown.append(element("i"), element("span", "unknown"));
    legend.append(unknown);
  }
}

function legendButton(kind, place, held) {
  const button = element("button");
  button.type = "button";
  button.setAttribute("aria-pressed", String(held));
  const dot = element("i");
  dot.style.background = `var(--class-${place % 10})`;
  button.append(dot, element("span", kind.name), element("small", number(kind.count)));
  return button;
}
