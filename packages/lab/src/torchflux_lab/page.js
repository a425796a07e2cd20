"use strict";
// Says what the curves are at the place of the pointer.

const plots = JSON.parse(document.getElementById("plots").textContent);

function nearest(places, at) {
  let low = 0, high = places.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (places[middle] < at) low = middle; else high = middle;
  }
  return Math.abs(places[low] - at) <= Math.abs(places[high] - at) ? low : high;
}

function brief(number) {
  return String(Number(number.toPrecision(5)));
}

function line(text, name) {
  const element = document.createElement("b");
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

function point(area, plot, at) {
  const found = plot.curves.map((curve) => nearest(curve.at, at));
  const first = plot.curves.reduce((best, curve, i) => {
    const distance = Math.abs(curve.at[found[i]] - at);
    return distance < best.distance ? { distance, i } : best;
  }, { distance: Infinity, i: 0 }).i;
  const place = plot.curves[first].at[found[first]];
  const shown = area.querySelector("output");
  shown.replaceChildren(line(`${plot.axis} ${brief(plot.curves[first].x[found[first]])}`));
  plot.curves.forEach((curve, i) => {
    if (Math.abs(curve.at[found[i]] - place) > 0.02) return;
    shown.append(line(`${curve.name ? curve.name + ": " : ""}${brief(curve.y[found[i]])}`, `c${i % 8}`));
  });
  area.querySelector(".cursor").style.left = `${100 * place}%`;
  shown.style.left = place < 0.5 ? `calc(${100 * place}% + .5rem)` : "";
  shown.style.right = place < 0.5 ? "" : `calc(${100 * (1 - place)}% + .5rem)`;
  area.classList.add("pointed");
}

for (const area of document.querySelectorAll(".plot")) {
  const plot = plots[Number(area.dataset.plot)];
  const follow = (event) => {
    const box = area.getBoundingClientRect();
    point(area, plot, Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  };
  area.addEventListener("pointermove", follow);
  area.addEventListener("pointerdown", follow);
  area.addEventListener("pointerleave", () => area.classList.remove("pointed"));
}
