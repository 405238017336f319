"use strict";
(() => {
  const {drawings, dark} = JSON.parse(document.getElementById("figures").textContent);
  const places = [...document.querySelectorAll("[data-figure]")];
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  const isNarrow = matchMedia("(max-width: 40rem)");
  const isPrint = matchMedia("print");
  const drawn = new Set();

  // What stands under a key that ends in `color` or `colorscale` is a colour; see palette.py.
  const recoloured = (part, isColour) => {
    if (Array.isArray(part)) return part.map((each) => recoloured(each, isColour));
    if (part !== null && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([key, value]) =>
        [key, recoloured(value, /color(scale)?$/.test(key))]));
    }
    return isColour && typeof part === "string" && part in dark ? dark[part] : part;
  };

  const draw = (place) => {
    const given = drawings[place.dataset.figure];
    const light = isPrint.matches || !isDark.matches;
    const narrow = isNarrow.matches && !isPrint.matches;
    const shape = narrow && given.narrow ? given.narrow : given;
    const {data, layout} = light ? structuredClone(shape) : recoloured(shape, false);
    drawn.add(place);
    return Plotly.react(place, data, {...layout, autosize: true, dragmode: false},
      {displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false});
  };
  const redraw = () => drawn.forEach(draw);
  const drawAll = () => places.forEach((place) => drawn.has(place) || draw(place));

  // A page of many figures is there at once: each is drawn when it comes near.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
    }
  }, {rootMargin: "600px"});
  places.forEach((place) => watcher.observe(place));
  isDark.addEventListener("change", redraw);
  isNarrow.addEventListener("change", redraw);
  isPrint.addEventListener("change", () => { drawAll(); redraw(); });
  addEventListener("beforeprint", drawAll);
})();
